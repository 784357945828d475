/* A wall clock for tests that can be set: loaded into the process under test, it adds to the time of day the milliseconds
   that stand in the file THEATER_CLOCK_FILE. All other clocks are as they are. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *time) {
    int result = (int)syscall(SYS_clock_gettime, clock, time);
    const char *path = getenv("THEATER_CLOCK_FILE");
    if (result != 0 || clock != CLOCK_REALTIME || path == NULL) return result;
    FILE *file = fopen(path, "r");
    if (file == NULL) return result;
    long long ms = 0;
    if (fscanf(file, "%lld", &ms) == 1) {
        long long sum = time->tv_sec * 1000LL + time->tv_nsec / 1000000 + ms;
        time->tv_sec = sum / 1000;
        time->tv_nsec = (sum % 1000) * 1000000 + time->tv_nsec % 1000000;
    }
    fclose(file);
    return result;
}
