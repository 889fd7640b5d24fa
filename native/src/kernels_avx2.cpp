#define RLOSSCTL_PATH avx2
#include "path.hpp"
