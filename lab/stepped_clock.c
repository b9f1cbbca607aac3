/* Preloaded into a program, shifts the wall clock that it sees by what a shared file says.
 *
 * The file (GODWIT_LAB_CLOCK) holds one signed 64-bit number of nanoseconds, mapped, so that a step
 * is seen at the next reading. CLOCK_REALTIME cannot be namespaced; every other clock is left alone,
 * as a step of the wall clock leaves it alone. Deadlines in wall time are handed to the kernel
 * shifted back, since the kernel has the unshifted clock.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *offset_ns;

__attribute__((constructor)) static void map_offset(void)
{
    const char *path = getenv("GODWIT_LAB_CLOCK");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0)
        return;
    void *mapped = mmap(NULL, sizeof *offset_ns, PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (mapped != MAP_FAILED)
        offset_ns = mapped;
}

static struct timespec shifted(struct timespec when, int sign)
{
    int64_t shift = offset_ns ? sign * *offset_ns : 0;
    int64_t rest = when.tv_nsec + shift % 1000000000;
    when.tv_sec += shift / 1000000000;
    if (rest < 0) {
        rest += 1000000000;
        when.tv_sec--;
    } else if (rest >= 1000000000) {
        rest -= 1000000000;
        when.tv_sec++;
    }
    when.tv_nsec = rest;
    return when;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    if (syscall(SYS_clock_gettime, clock, now) != 0)
        return -1;
    if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)
        *now = shifted(*now, 1);
    return 0;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    struct timespec precise;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &precise);
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *stored)
{
    struct timespec precise;
    clock_gettime(CLOCK_REALTIME, &precise);
    if (stored)
        *stored = precise.tv_sec;
    return precise.tv_sec;
}

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *wanted,
                    struct timespec *left)
{
    struct timespec until = *wanted;
    if (clock == CLOCK_REALTIME && (flags & TIMER_ABSTIME))
        until = shifted(until, -1);
    return syscall(SYS_clock_nanosleep, clock, flags, &until, left) == 0 ? 0 : errno;
}

int sem_timedwait(sem_t *restrict semaphore, const struct timespec *restrict deadline)
{
    struct timespec until = shifted(*deadline, -1);
    return sem_clockwait(semaphore, CLOCK_REALTIME, &until);
}
