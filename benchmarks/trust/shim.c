/* Faults in system calls, for the programs of this folder: preload this library, and arm it in a forked child.
 *
 * Every call that concerns a path below `prefix` and whose kind is in `kinds` is counted. What happens at the
 * nth of them:
 *
 *     FAIL        it does not happen, and fails with `number` as errno
 *     KILL        the process is killed by SIGKILL before it happens
 *     KILL_AFTER  the process is killed after it has happened
 *     SHORT       a read or write does half of what was asked; so does every later one
 *     FULL        from the first call on, `number` bytes can be written; then the disk is full. It also is from
 *                 the nth write on, if n is not 1
 *     PAUSE       the process stops itself by SIGSTOP before it happens, and goes on with SIGCONT
 *
 * counts[0] is the number of calls so far, counts[1] the kind of the call that was hit, and counts[2 + i] the
 * number of calls of kind 1 << i. counts[16] is the number of renames that gave a final name to bytes which had
 * been written and not synced: a power failure could have lost them. They lie in memory that the parent process
 * shares, so that it knows them after a kill.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind {
    OPEN = 1, READ = 2, WRITE = 4, FSYNC = 8, RENAME = 16, UNLINK = 32, MKDIR = 64, TRUNCATE = 128,
    ALLOCATE = 256, LINK = 512, CLOSE = 1024, MAP = 2048, LIST = 4096, STAT = 8192
};
enum action { NONE, FAIL, KILL, KILL_AFTER, SHORT, FULL, PAUSE };
enum { LOOSE = 16, MOST = 256, HELD = 700 };

static char prefix[512];
static unsigned kinds;
static long nth, number, left;
static int action, armed;
static volatile long *counts;

void shim_arm(const char *path, unsigned mask, long call, int what, long value, long *shared) {
    snprintf(prefix, sizeof prefix, "%s", path);
    kinds = mask, nth = call, action = what, number = left = value, counts = shared;
    armed = 1;
}

static int below(const char *path) { return path && !strncmp(path, prefix, strlen(prefix)); }

static int known(int fd) { /* whether a descriptor is a file below the prefix */
    char link[48], path[1024];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    int error = errno;
    ssize_t length = syscall(SYS_readlinkat, AT_FDCWD, link, path, sizeof path - 1);
    errno = error;
    if (length < 0) return 0;
    path[length] = 0;
    return below(path);
}

static int named(int folder, const char *path) { /* whether a path, which may be relative, is below the prefix */
    if (!path) return 0;
    if (*path == '/') return below(path);
    if (folder != AT_FDCWD) return known(folder);
    char here[1024];
    return syscall(SYS_getcwd, here, sizeof here) > 0 && below(here);
}

static void die(void) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

/* Count a call that concerns the prefix; return what it must do. */
static int gate(enum kind kind) {
    if (!(kind & kinds)) return NONE;
    long call = __sync_add_and_fetch(counts, 1);
    __sync_add_and_fetch(counts + 2 + __builtin_ctz(kind), 1);
    if (action == FULL) {
        if (kind == WRITE && nth > 1 && counts[2 + __builtin_ctz(WRITE)] >= nth) left = 0;
        return FULL;
    }
    if (action == SHORT ? call < nth : call != nth) return NONE;
    counts[1] = kind;
    if (action == KILL) die();
    if (action == PAUSE) kill(getpid(), SIGSTOP);
    return action;
}

/* Files that were written and not synced since. A descriptor of each is kept, whose link says where it is. */
static struct { int fd; dev_t device; ino_t inode; } unsynced[MOST];
static int some_unsynced, busy;

static void begin(void) { while (__sync_lock_test_and_set(&busy, 1)) ; }
static void end(void) { __sync_lock_release(&busy); }

static void note(int fd, int written) {
    struct stat found;
    int error = errno;
    if (armed && !syscall(SYS_newfstatat, fd, "", &found, AT_EMPTY_PATH)) {
        begin();
        int at = 0;
        while (at < some_unsynced
               && (unsynced[at].inode != found.st_ino || unsynced[at].device != found.st_dev)) at++;
        if (written && at == some_unsynced && at < MOST) {
            int kept = (int)syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, HELD);
            if (kept >= 0) {
                unsynced[at].fd = kept, unsynced[at].device = found.st_dev, unsynced[at].inode = found.st_ino;
                some_unsynced++;
            }
        } else if (!written && at < some_unsynced) {
            syscall(SYS_close, unsynced[at].fd);
            unsynced[at] = unsynced[--some_unsynced];
        }
        end();
    }
    errno = error;
}

static int is_in(const char *path, const char *folder, size_t length) {
    return !strncmp(path, folder, length) && (path[length] == '/' || !path[length]);
}

/* Count a rename to a final name, of a file or folder with bytes that are not synced, or of a bundle's manifest
 * beside such files. Names that begin with a dot, and what lies in a `.partial` folder, are not final. */
static void name_given(const char *old, const char *new) {
    const char *last = strrchr(new, '/');
    if (!armed || !below(new) || !last || last[1] == '.' || strstr(new, ".partial/")) return;
    int error = errno;
    begin();
    for (int at = 0; at < some_unsynced; at++) {
        char link[48], path[1024];
        snprintf(link, sizeof link, "/proc/self/fd/%d", unsynced[at].fd);
        ssize_t length = syscall(SYS_readlinkat, AT_FDCWD, link, path, sizeof path - 1);
        if (length < 0) continue;
        path[length] = 0;
        if (length > 10 && !strcmp(path + length - 10, " (deleted)")) continue;
        const char *name = strrchr(path, '/');
        int beside = !strcmp(last, "/manifest.json") && is_in(path, new, (size_t)(last - new));
        if (is_in(path, old, strlen(old)) || (beside && name && name[1] != '.'))
            __sync_add_and_fetch(counts + LOOSE, 1);
    }
    end();
    errno = error;
}

#define GATE(kind, concerned)                                                                                  \
    int what = armed && (concerned) ? gate(kind) : NONE;                                                       \
    if (what == FAIL) return errno = number, -1
#define DONE(result)                                                                                           \
    do {                                                                                                       \
        __typeof__(result) value = (result);                                                                   \
        if (what == KILL_AFTER) die();                                                                         \
        return value;                                                                                          \
    } while (0)
#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* The bytes that a transfer may have. Sets errno and returns 0 if the disk is full. */
static size_t allowed(int what, size_t bytes, int writes) {
    if (what == SHORT && bytes > 1) return bytes / 2;
    if (what != FULL || !writes) return bytes;
    long had = __sync_fetch_and_sub(&left, (long)bytes);
    if (had >= (long)bytes) return bytes;
    counts[1] = WRITE;
    left = 0;
    return had > 0 ? (size_t)had : 0;
}
#define NOTE(written)                                                                                          \
    if (armed && known(fd)) note(fd, written)
#define LIMIT(bytes, writes)                                                                                   \
    size_t some = allowed(what, bytes, writes);                                                                \
    if (!some && bytes) return errno = ENOSPC, -1

static int opened(int folder, const char *path, int flags, mode_t mode) {
    GATE(OPEN, named(folder, path));
    DONE((int)syscall(SYS_openat, folder, path, flags, mode));
}
#define MODE                                                                                                   \
    mode_t mode = 0;                                                                                           \
    if (flags & (O_CREAT | __O_TMPFILE)) {                                                                     \
        va_list more;                                                                                          \
        va_start(more, flags);                                                                                 \
        mode = va_arg(more, mode_t);                                                                           \
        va_end(more);                                                                                          \
    }
int open(const char *path, int flags, ...) { MODE return opened(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE return opened(AT_FDCWD, path, flags, mode); }
int openat(int folder, const char *path, int flags, ...) { MODE return opened(folder, path, flags, mode); }
int openat64(int folder, const char *path, int flags, ...) { MODE return opened(folder, path, flags, mode); }

#define FOPEN(name)                                                                                            \
    FILE *name(const char *path, const char *mode) {                                                           \
        int what = armed && named(AT_FDCWD, path) ? gate(OPEN) : NONE;                                         \
        if (what == FAIL) return errno = number, NULL;                                                         \
        DONE(REAL(name)(path, mode));                                                                          \
    }
FOPEN(fopen)
FOPEN(fopen64)

ssize_t read(int fd, void *data, size_t bytes) {
    GATE(READ, known(fd));
    LIMIT(bytes, 0);
    DONE((ssize_t)syscall(SYS_read, fd, data, some));
}
static ssize_t read_at(int fd, void *data, size_t bytes, off_t offset) {
    GATE(READ, known(fd));
    LIMIT(bytes, 0);
    DONE((ssize_t)syscall(SYS_pread64, fd, data, some, offset));
}
ssize_t pread(int fd, void *data, size_t bytes, off_t offset) { return read_at(fd, data, bytes, offset); }
ssize_t pread64(int fd, void *data, size_t bytes, off64_t offset) { return read_at(fd, data, bytes, offset); }

ssize_t write(int fd, const void *data, size_t bytes) {
    GATE(WRITE, known(fd));
    LIMIT(bytes, 1);
    NOTE(1);
    DONE((ssize_t)syscall(SYS_write, fd, data, some));
}
static ssize_t write_at(int fd, const void *data, size_t bytes, off_t offset) {
    GATE(WRITE, known(fd));
    LIMIT(bytes, 1);
    NOTE(1);
    DONE((ssize_t)syscall(SYS_pwrite64, fd, data, some, offset));
}
ssize_t pwrite(int fd, const void *data, size_t bytes, off_t offset) { return write_at(fd, data, bytes, offset); }
ssize_t pwrite64(int fd, const void *data, size_t bytes, off64_t offset) { return write_at(fd, data, bytes, offset); }
ssize_t writev(int fd, const struct iovec *parts, int count) {
    GATE(WRITE, known(fd));
    NOTE(1);
    if (what != SHORT && what != FULL) DONE((ssize_t)syscall(SYS_writev, fd, parts, count));
    while (count && !parts->iov_len) parts++, count--;
    if (!count) return 0;
    LIMIT(parts->iov_len, 1);
    DONE((ssize_t)syscall(SYS_write, fd, parts->iov_base, some));
}

int fsync(int fd) {
    GATE(FSYNC, known(fd));
    NOTE(0);
    DONE((int)syscall(SYS_fsync, fd));
}
int fdatasync(int fd) {
    GATE(FSYNC, known(fd));
    NOTE(0);
    DONE((int)syscall(SYS_fdatasync, fd));
}

int rename(const char *old, const char *new) {
    GATE(RENAME, named(AT_FDCWD, new));
    name_given(old, new);
    DONE((int)syscall(SYS_rename, old, new));
}
int renameat(int from, const char *old, int to, const char *new) {
    GATE(RENAME, named(to, new));
    DONE((int)syscall(SYS_renameat, from, old, to, new));
}
int link(const char *old, const char *new) {
    GATE(LINK, named(AT_FDCWD, new));
    DONE((int)syscall(SYS_link, old, new));
}
int symlink(const char *old, const char *new) {
    GATE(LINK, named(AT_FDCWD, new));
    DONE((int)syscall(SYS_symlink, old, new));
}
int unlink(const char *path) {
    GATE(UNLINK, named(AT_FDCWD, path));
    DONE((int)syscall(SYS_unlink, path));
}
int unlinkat(int folder, const char *path, int flags) {
    GATE(UNLINK, named(folder, path));
    DONE((int)syscall(SYS_unlinkat, folder, path, flags));
}
int rmdir(const char *path) {
    GATE(UNLINK, named(AT_FDCWD, path));
    DONE((int)syscall(SYS_rmdir, path));
}
int mkdir(const char *path, mode_t mode) {
    GATE(MKDIR, named(AT_FDCWD, path));
    DONE((int)syscall(SYS_mkdir, path, mode));
}
int mkdirat(int folder, const char *path, mode_t mode) {
    GATE(MKDIR, named(folder, path));
    DONE((int)syscall(SYS_mkdirat, folder, path, mode));
}

static int truncated(int fd, off_t length) {
    GATE(TRUNCATE, known(fd));
    DONE((int)syscall(SYS_ftruncate, fd, length));
}
int ftruncate(int fd, off_t length) { return truncated(fd, length); }
int ftruncate64(int fd, off64_t length) { return truncated(fd, length); }

static int allocated(int fd, off_t offset, off_t length) { /* returns the error and leaves errno alone */
    int what = armed && known(fd) ? gate(ALLOCATE) : NONE;
    if (what == FAIL) return (int)number;
    if (what == FULL && length > left) return ENOSPC;
    DONE(syscall(SYS_fallocate, fd, 0, offset, length) ? errno : 0);
}
int posix_fallocate(int fd, off_t offset, off_t length) { return allocated(fd, offset, length); }
int posix_fallocate64(int fd, off64_t offset, off64_t length) { return allocated(fd, offset, length); }

static void *mapped(void *where, size_t bytes, int protection, int flags, int fd, off_t offset) {
    int what = armed && fd >= 0 && known(fd) ? gate(MAP) : NONE;
    if (what == FAIL) return errno = number, MAP_FAILED;
    DONE((void *)syscall(SYS_mmap, where, bytes, protection, flags, fd, offset));
}
void *mmap(void *where, size_t bytes, int protection, int flags, int fd, off_t offset) {
    return mapped(where, bytes, protection, flags, fd, offset);
}
void *mmap64(void *where, size_t bytes, int protection, int flags, int fd, off64_t offset) {
    return mapped(where, bytes, protection, flags, fd, offset);
}

DIR *opendir(const char *path) {
    int what = armed && named(AT_FDCWD, path) ? gate(LIST) : NONE;
    if (what == FAIL) return errno = number, NULL;
    DONE(REAL(opendir)(path));
}
DIR *fdopendir(int fd) {
    int what = armed && known(fd) ? gate(LIST) : NONE;
    if (what == FAIL) return errno = number, NULL;
    DONE(REAL(fdopendir)(fd));
}

int stat(const char *path, struct stat *found) {
    GATE(STAT, named(AT_FDCWD, path));
    DONE((int)syscall(SYS_newfstatat, AT_FDCWD, path, found, 0));
}
int lstat(const char *path, struct stat *found) {
    GATE(STAT, named(AT_FDCWD, path));
    DONE((int)syscall(SYS_newfstatat, AT_FDCWD, path, found, AT_SYMLINK_NOFOLLOW));
}
int stat64(const char *path, struct stat64 *found) { return stat(path, (struct stat *)found); }
int lstat64(const char *path, struct stat64 *found) { return lstat(path, (struct stat *)found); }

int close(int fd) { /* a close that fails has closed the file */
    int what = armed && (kinds & CLOSE) && known(fd) ? gate(CLOSE) : NONE;
    int result = (int)syscall(SYS_close, fd);
    if (what == FAIL) return errno = number, -1;
    DONE(result);
}
