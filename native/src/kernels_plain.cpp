#define RLOSSCTL_PATH plain
#include "path.hpp"
