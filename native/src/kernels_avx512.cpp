#define RLOSSCTL_PATH avx512
#include "path.hpp"
