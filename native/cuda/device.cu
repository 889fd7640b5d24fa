#include "filter.hpp"
#include "platform.cuh"

namespace rlossctl::cuda {

#ifdef RLOSSCTL_EMULATE
std::string why_unusable() { return ""; }
#else
std::string why_unusable() {
    int devices = 0, driver = 0;
    if (cudaDriverGetVersion(&driver) == cudaSuccess && driver == 0) return "no CUDA device: there is no driver";
    const cudaError_t status = cudaGetDeviceCount(&devices);
    if (status != cudaSuccess) {
        cudaGetLastError(); // the error is reported here, not by the next call
        return cudaGetErrorString(status);
    }
    return devices > 0 ? "" : "no CUDA device";
}
#endif

} // namespace rlossctl::cuda
