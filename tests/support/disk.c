/* Simulates a disk that keeps only synced data, or that fails on command. It is loaded before libc into the process under
 * test (LD_PRELOAD), and watches the files in THEATER_DISK_DIR and in its directories `log` and `components`.
 *
 * THEATER_DISK_SYNCED=DIR: DIR/data-INODE holds each file as it was when it was last synced. DIR/entries holds the directory as
 * it was when the directory was last synced: lines of inode and name; DIR/entries-log and DIR/entries-components likewise. A
 * test builds the result of a power loss from these.
 *
 * THEATER_DISK_FAIL=CALL:N:ERRNO: the Nth CALL (open, write or sync) on those files fails, and so does each later one. "open"
 * counts only calls that open for writing. A write that fails for lack of room (ENOSPC) has written half of its data.
 *
 * THEATER_DISK_HANGS=FILE: while FILE exists, a sync of those files waits. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

struct range { ino_t inode; off_t offset; size_t length; };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct range *unsynced;
static size_t count, room;
static const char *watched, *synced, *failing, *hangs;
static long fail_from, fail_errno, seen;

__attribute__((constructor)) static void begin(void)
{
    watched = getenv("THEATER_DISK_DIR");
    synced = getenv("THEATER_DISK_SYNCED");
    hangs = getenv("THEATER_DISK_HANGS");
    char *fail = getenv("THEATER_DISK_FAIL");
    if (fail) {
        fail = strdup(fail);
        failing = strtok(fail, ":");
        fail_from = atol(strtok(NULL, ":"));
        fail_errno = atol(strtok(NULL, ":"));
    }
}

static const char *const below[] = { "", "/log", "/components" };

/* Whether fd is a file in a watched directory (1), one of those directories (2 and up), or neither. */
static int is_watched(int fd)
{
    char link[64], path[PATH_MAX], *file;
    if (!watched) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    size_t prefix = strlen(watched);
    if (length < (ssize_t)prefix) return 0;
    path[length] = 0;
    if (strncmp(path, watched, prefix)) return 0;
    for (int at = 0; at < 3; at++)
        if (!strcmp(path + prefix, below[at])) return 2 + at;
    /* SQLite builds the log's index again after every end. */
    if (length > 4 && !strcmp(path + length - 4, "-shm")) return 0;
    file = strrchr(path + prefix, '/');
    if (!file) return 0;
    *file = 0;
    for (int at = 0; at < 3; at++)
        if (!strcmp(path + prefix, below[at])) return 1;
    return 0;
}

/* Counts a call; returns whether it must fail. */
static int is_to_fail(const char *call)
{
    if (!failing || strcmp(call, failing)) return 0;
    return __atomic_add_fetch(&seen, 1, __ATOMIC_SEQ_CST) >= fail_from;
}

static int must(int outcome, const char *what)
{
    if (outcome < 0) { perror(what); abort(); }
    return outcome;
}

static void note(int fd, off_t offset, ssize_t length)
{
    struct stat file;
    if (!synced || length <= 0 || is_watched(fd) != 1) return;
    must(fstat(fd, &file), "fstat");
    pthread_mutex_lock(&lock);
    if (count == room) unsynced = realloc(unsynced, (room = room ? 2 * room : 1024) * sizeof *unsynced);
    unsynced[count++] = (struct range){ file.st_ino, offset, (size_t)length };
    pthread_mutex_unlock(&lock);
}

static void keep_file(int fd)
{
    char path[PATH_MAX], own[64], buffer[65536];
    struct stat file;
    snprintf(own, sizeof own, "/proc/self/fd/%d", fd);
    /* Two threads may sync one file. Without the lock, one could truncate the copy to a length it saw before the other. */
    pthread_mutex_lock(&lock);
    must(fstat(fd, &file), "fstat");
    snprintf(path, sizeof path, "%s/data-%lu", synced, (unsigned long)file.st_ino);
    int to = must(REAL(open)(path, O_WRONLY | O_CREAT, 0600), path), from = must(REAL(open)(own, O_RDONLY), own);
    size_t kept = 0;
    for (size_t at = 0; at < count; at++) {
        struct range range = unsynced[at];
        if (range.inode != file.st_ino) { unsynced[kept++] = range; continue; }
        while (range.length) {
            size_t wanted = range.length < sizeof buffer ? range.length : sizeof buffer;
            ssize_t got = must(pread(from, buffer, wanted, range.offset), "pread");
            if (!got) break;
            must(REAL(pwrite)(to, buffer, got, range.offset), "pwrite");
            range.offset += got, range.length -= got;
        }
    }
    count = kept;
    must(REAL(ftruncate)(to, file.st_size), "ftruncate");
    close(to), close(from);
    pthread_mutex_unlock(&lock);
}

static void keep_entries(const char *within)
{
    char path[PATH_MAX], next[PATH_MAX], directory[PATH_MAX];
    snprintf(path, sizeof path, "%s/entries%s%s", synced, *within ? "-" : "", *within ? within + 1 : "");
    snprintf(next, sizeof next, "%s.next", path);
    snprintf(directory, sizeof directory, "%s%s", watched, within);
    pthread_mutex_lock(&lock);
    /* If the process is killed in the middle of this, the previous copy of the directory stays. */
    FILE *to = fopen(next, "w");
    DIR *from = opendir(directory);
    if (!to || !from) { perror(path); abort(); }
    for (struct dirent *entry; (entry = readdir(from));)
        if (entry->d_type == DT_REG || (entry->d_type == DT_DIR && entry->d_name[0] != '.')) fprintf(to, "%lu %s\n", (unsigned long)entry->d_ino, entry->d_name);
    closedir(from), fclose(to);
    must(rename(next, path), path);
    pthread_mutex_unlock(&lock);
}

static int sync_by(int fd, int (*real)(int))
{
    int what = is_watched(fd);
    while (what == 1 && hangs && !access(hangs, F_OK)) usleep(1000);
    if (what == 1 && is_to_fail("sync")) return errno = fail_errno, -1;
    int outcome = real(fd);
    if (outcome == 0 && synced && what == 1) keep_file(fd);
    if (outcome == 0 && synced && what >= 2) keep_entries(below[what - 2]);
    return outcome;
}

int fsync(int fd) { return sync_by(fd, REAL(fsync)); }
int fdatasync(int fd) { return sync_by(fd, REAL(fdatasync)); }

static ssize_t write_at(int fd, const void *bytes, size_t length, off_t offset)
{
    if (is_watched(fd) == 1 && is_to_fail("write")) {
        if (fail_errno != ENOSPC || length < 2 || seen > fail_from) return errno = fail_errno, -1;
        length /= 2;
    }
    ssize_t written = REAL(pwrite64)(fd, bytes, length, offset);
    note(fd, offset, written);
    return written;
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset) { return write_at(fd, bytes, length, offset); }
ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t offset) { return write_at(fd, bytes, length, offset); }

ssize_t write(int fd, const void *bytes, size_t length)
{
    if (is_watched(fd) == 1 && is_to_fail("write")) return errno = fail_errno, -1;
    ssize_t written = REAL(write)(fd, bytes, length);
    if (written > 0 && synced) {
        int saved = errno;
        note(fd, lseek(fd, 0, SEEK_CUR) - written, written);
        errno = saved;
    }
    return written;
}

static int is_refused(const char *path, int flags)
{
    char whole[PATH_MAX];
    if (!failing || !watched || ((flags & O_ACCMODE) == O_RDONLY && !(flags & O_CREAT))) return 0;
    if (path[0] != '/') return 0;
    snprintf(whole, sizeof whole, "%s/", watched);
    return !strncmp(path, whole, strlen(whole)) && is_to_fail("open");
}

#define MODE(flags, mode) \
    mode_t mode = 0; \
    if (flags & (O_CREAT | __O_TMPFILE)) { va_list rest; va_start(rest, flags); mode = va_arg(rest, mode_t); va_end(rest); }

int open(const char *path, int flags, ...)
{
    MODE(flags, mode)
    if (is_refused(path, flags)) return errno = fail_errno, -1;
    return REAL(open64)(path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    MODE(flags, mode)
    if (is_refused(path, flags)) return errno = fail_errno, -1;
    return REAL(open64)(path, flags, mode);
}
