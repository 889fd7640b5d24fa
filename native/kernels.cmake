# The kernels as a static library, for the module (CMakeLists.txt) and for the tests (tests/CMakeLists.txt). The
# inner loops are compiled once for each instruction set and chosen while running (src/kernels.cpp).
include(CheckCXXCompilerFlag)
find_package(Threads REQUIRED)
option(RLOSSCTL_OPENMP "Take OpenMP's threads where the compiler has them, else plain ones" ON)
if(RLOSSCTL_OPENMP)
  find_package(OpenMP COMPONENTS CXX)
endif()

set(source_dir "${CMAKE_CURRENT_LIST_DIR}/src")
add_library(rlossctl_kernels STATIC
  "${source_dir}/best.cpp" "${source_dir}/chain.cpp" "${source_dir}/exact.cpp" "${source_dir}/filter.cpp"
  "${source_dir}/gated.cpp" "${source_dir}/kernels.cpp" "${source_dir}/kernels_plain.cpp" "${source_dir}/layout.cpp"
  "${source_dir}/points.cpp" "${source_dir}/softmax.cpp" "${source_dir}/threads.cpp" "${source_dir}/tree.cpp")
target_include_directories(rlossctl_kernels PUBLIC "${source_dir}")
target_compile_features(rlossctl_kernels PUBLIC cxx_std_17)
target_link_libraries(rlossctl_kernels PUBLIC Threads::Threads)
if(OpenMP_CXX_FOUND)
  target_link_libraries(rlossctl_kernels PRIVATE OpenMP::OpenMP_CXX)
endif()
set_target_properties(rlossctl_kernels PROPERTIES POSITION_INDEPENDENT_CODE ON CXX_VISIBILITY_PRESET hidden)

# No fused multiply-add but where the source says so: see src/path_embed.hpp. GCC warns of its own header of
# AVX-512 (bug 105593), and of the ABI of vectors that are only passed to inlined functions.
target_compile_options(rlossctl_kernels PRIVATE
  -Wall -Wextra -ffp-contract=off -Wno-psabi $<$<CXX_COMPILER_ID:GNU>:-Wno-uninitialized -Wno-maybe-uninitialized>)
check_cxx_compiler_flag("-mavx512f -mavx512dq -mavx512bw -mavx512vl -mavx2 -mfma" has_x86_flags)
if(has_x86_flags)
  set(avx2 -mavx2 -mfma)
  set(avx512 ${avx2} -mavx512f -mavx512dq -mavx512bw -mavx512vl -mprefer-vector-width=512)
  target_sources(rlossctl_kernels PRIVATE "${source_dir}/kernels_avx2.cpp" "${source_dir}/kernels_avx512.cpp")
  set_source_files_properties("${source_dir}/kernels_avx2.cpp" PROPERTIES COMPILE_OPTIONS "${avx2}")
  set_source_files_properties("${source_dir}/kernels_avx512.cpp" PROPERTIES COMPILE_OPTIONS "${avx512}")
  target_compile_definitions(rlossctl_kernels PRIVATE RLOSSCTL_X86)
endif()
