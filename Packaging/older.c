// What is asked of glibc and libstdc++ by its newest version, though an older one will do. The linker's --wrap (package.py) puts these functions in the place
// of what the objects call, so that the command runs on systems with glibc 2.34 and the libstdc++ of GCC 11.
#define _GNU_SOURCE
#include <math.h>

// glibc 2.35 gave hypot and hypotf a new version, which sets errno no more. hypotf64 and hypotf32 are the same functions under names of glibc 2.27.
double __wrap_hypot(double x, double y) { return hypotf64(x, y); }
float __wrap_hypotf(float x, float y) { return hypotf32(x, y); }

// GCC 12 gave std::condition_variable::wait(std::unique_lock<std::mutex> &) a new version, which lets a cancelled thread unwind. The first one is there still.
__asm__(".symver wait_of_gcc_4_4, _ZNSt18condition_variable4waitERSt11unique_lockISt5mutexE@GLIBCXX_3.4.11");
void wait_of_gcc_4_4(void *condition, void *lock);
void __wrap__ZNSt18condition_variable4waitERSt11unique_lockISt5mutexE(void *condition, void *lock) { wait_of_gcc_4_4(condition, lock); }
