#define _GNU_SOURCE
#include "CSupervisor.h"
#include "SystemCallFilter.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { server = 3, job_bytes_max = 64 << 20, texts_before_arguments = 15 };

struct job {
    long grace_ms;
    long uid, gid;
    unsigned long memory_bytes, cpu_seconds, data_bytes, processes, files, file_bytes;
    int is_launcher, has_no_network, filter, has_own_user;
    const char *folder;
    char **arguments;
    char **variables;
};

/// Lets this process go before all others, where it may: what it has to end may be hundreds of processes that leave it no time. Its children do not inherit it.
static void hurry(void) {
    struct sched_param first = {.sched_priority = 1};
    if (sched_setscheduler(0, SCHED_RR | SCHED_RESET_ON_FORK, &first) != 0) setpriority(PRIO_PROCESS, 0, -20);
}

static int64_t now_ms(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

/// Says how it ended; there may be no server any more to hear it.
static void finish(int32_t what, int32_t value) {
    int32_t answer[2] = {what, value};
    send(server, answer, sizeof answer, MSG_NOSIGNAL);
    _exit(0);
}

// MARK: The job

static int read_whole(void *into, size_t count) {
    for (size_t done = 0; done < count;) {
        ssize_t got = read(server, (char *)into + done, count - done);
        if (got == 0 || (got < 0 && errno != EINTR)) return 0;
        if (got > 0) done += (size_t)got;
    }
    return 1;
}

/// Reads the job; a server that ended meanwhile needs no answer.
static struct job receive(void) {
    uint32_t length;
    if (!read_whole(&length, sizeof length) || length > job_bytes_max) _exit(1);
    char *text = malloc((size_t)length + 1), *end = text + length;
    if (!text || !read_whole(text, length)) _exit(1);
    *end = 0;
    size_t count = 0;
    for (char *at = text; at < end; at += strlen(at) + 1) count++;
    char **texts = calloc(count + 1, sizeof *texts);
    // One place more than texts: the arguments get an end of their own between them and the variables.
    char **vector = calloc(count + 2, sizeof *vector);
    if (!texts || !vector || count < texts_before_arguments) _exit(1);
    count = 0;
    for (char *at = text; at < end; at += strlen(at) + 1) texts[count++] = at;
    const size_t before = texts_before_arguments;
    size_t arguments = strtoul(texts[before - 1], NULL, 10);
    if (arguments < 1 || arguments > count - before) _exit(1);
    memcpy(vector, texts + before, arguments * sizeof *vector);
    memcpy(vector + arguments + 1, texts + before + arguments, (count - before - arguments) * sizeof *vector);
    return (struct job){
        .grace_ms = atol(texts[0]), .uid = atol(texts[1]), .gid = atol(texts[2]), .memory_bytes = strtoul(texts[3], NULL, 10),
        .cpu_seconds = strtoul(texts[4], NULL, 10), .data_bytes = strtoul(texts[5], NULL, 10), .processes = strtoul(texts[6], NULL, 10),
        .files = strtoul(texts[7], NULL, 10), .file_bytes = strtoul(texts[8], NULL, 10), .is_launcher = atoi(texts[9]),
        .has_no_network = atoi(texts[10]), .filter = atoi(texts[11]), .has_own_user = atoi(texts[12]), .folder = texts[13],
        .arguments = vector, .variables = vector + arguments + 1};
}

/// Waits until no supervisor of a server before holds the folder: its processes may still be ending.
/// - Returns: a descriptor of the folder, whose lock ends with this process.
static int hold(const char *folder) {
    int descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (descriptor < 0) finish(KEEL_SUPERVISOR_NOT_STARTED, errno);
    while (flock(descriptor, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK && errno != EINTR) finish(KEEL_SUPERVISOR_NOT_STARTED, errno);
        struct pollfd waiting = {.fd = server, .events = POLLIN};
        if (poll(&waiting, 1, 20) > 0) finish(KEEL_SUPERVISOR_SIGNALLED, SIGTERM);
    }
    return descriptor;
}

// MARK: The program

static void limit(int what, rlim_t value) {
    struct rlimit limit = {.rlim_cur = value, .rlim_max = value};
    setrlimit(what, &limit);
}

/// A launcher starts with privileges that the program must not have, so nothing that a step chooses reaches it: this is its whole environment.
static char *launcher_environment[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL};

static int is_name(const char *at, const char *end) {
    if (at == end || isdigit((unsigned char)*at)) return 0;
    for (; at < end; at++)
        if (*at != '_' && !(*at >= 'a' && *at <= 'z') && !(*at >= 'A' && *at <= 'Z') && !isdigit((unsigned char)*at)) return 0;
    return 1;
}

/// Writes the program's variables as shell text into a nameless file, which is open as KEEL_SUPERVISOR_VARIABLES when the launcher starts.
static int leave_variables(char **variables) {
    int file = memfd_create("keel-variables", MFD_CLOEXEC);
    FILE *out = file < 0 ? NULL : fdopen(file, "w");
    if (!out) return 0;
    for (; *variables; variables++) {
        const char *equals = strchr(*variables, '=');
        if (!equals || !is_name(*variables, equals)) {
            errno = EINVAL;
            return 0;
        }
        fprintf(out, "export %.*s='", (int)(equals - *variables), *variables);
        for (const char *at = equals + 1; *at; at++) {
            if (*at == '\'') fputs("'\\''", out);
            else fputc(*at, out);
        }
        fputs("'\n", out);
    }
    if (fflush(out) != 0) return 0;
    return file == KEEL_SUPERVISOR_VARIABLES ? fcntl(file, F_SETFD, 0) == 0 : dup2(file, KEEL_SUPERVISOR_VARIABLES) >= 0;
}

/// Leaves the filter, as bubblewrap reads it, in a nameless file that is open as KEEL_SUPERVISOR_FILTER when the launcher starts.
static int leave_filter(int allows_internet) {
    struct sock_filter instructions[KEEL_FILTER_LENGTH_MAX];
    size_t bytes = keel_filter(instructions, allows_internet) * sizeof *instructions;
    int file = memfd_create("keel-filter", MFD_CLOEXEC);
    if (file < 0 || write(file, instructions, bytes) != (ssize_t)bytes || lseek(file, 0, SEEK_SET) != 0) return 0;
    return file == KEEL_SUPERVISOR_FILTER ? fcntl(file, F_SETFD, 0) == 0 : dup2(file, KEEL_SUPERVISOR_FILTER) >= 0;
}

/// When the machine has no memory left, its system ends programs before the server. Others cannot lower what was written with
/// CAP_SYS_RESOURCE; without it the sandbox's /proc, which cannot be written, keeps it.
static void be_ended_first(void) {
    // Files of a process that cannot be looked into belong to root.
    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
    int file = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (file >= 0) {
        // Where it cannot be written, the program runs all the same.
        ssize_t ignored = write(file, "1000", 4);
        (void)ignored;
        close(file);
    }
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

/// The child's way to `exec`. What goes wrong is written to `problems`, which `exec` closes.
static void become(const struct job *job, int folder, pid_t parent, int problems) {
    setsid();
    be_ended_first();
    int is_ready = !job->is_launcher || leave_variables(job->variables);
    if (is_ready && job->is_launcher && job->filter) is_ready = leave_filter(job->filter == KEEL_SUPERVISOR_FILTER_WITH_INTERNET);
    // The server's session may hold keys, which whoever inherits it could use.
    if (job->filter) syscall(SYS_keyctl, 1 /* KEYCTL_JOIN_SESSION_KEYRING */, NULL);
    limit(RLIMIT_CORE, 0);
    if (job->memory_bytes) limit(RLIMIT_AS, job->memory_bytes);
    if (job->cpu_seconds) limit(RLIMIT_CPU, job->cpu_seconds);
    if (job->data_bytes) limit(RLIMIT_DATA, job->data_bytes);
    if (job->files) limit(RLIMIT_NOFILE, job->files);
    if (job->file_bytes) limit(RLIMIT_FSIZE, job->file_bytes);
    if (is_ready) is_ready = fchdir(folder) == 0;
    if (is_ready && job->has_no_network) is_ready = unshare(CLONE_NEWNET) == 0;
    if (is_ready && job->uid >= 0)
        is_ready = setgroups(0, NULL) == 0 && setresgid((gid_t)job->gid, (gid_t)job->gid, (gid_t)job->gid) == 0
            && setresuid((uid_t)job->uid, (uid_t)job->uid, (uid_t)job->uid) == 0;
    // The system counts all processes of a user, so this is for a user who has none but programs, and not for this one before.
    if (job->processes) limit(RLIMIT_NPROC, job->processes);
    // A launcher may need a set-user-id bit, and takes the privileges itself.
    if (is_ready && !job->is_launcher) is_ready = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0;
    if (is_ready) {
        // After the change of user, which clears it. Whoever kills the supervisor kills the program.
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) _exit(1);
        for (int number = 1; number < NSIG; number++) signal(number, SIG_DFL);
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        if (job->filter && !job->is_launcher) is_ready = keel_filter_install(job->filter == KEEL_SUPERVISOR_FILTER_WITH_INTERNET) == 0;
        if (job->is_launcher) {
            environ = launcher_environment;
            execv(job->arguments[0], job->arguments);
        } else if (is_ready) {
            environ = job->variables;
            execvp(job->arguments[0], job->arguments);
        }
    }
    int32_t problem = errno;
    ssize_t written = write(problems, &problem, sizeof problem);
    _exit(written == sizeof problem ? 127 : 126);
}

/// - Parameter channel: the program's, or -1: this process keeps no part of it, so that its other end closes with the program.
static pid_t start(const struct job *job, int folder, int channel) {
    int problems[2];
    if (pipe2(problems, O_CLOEXEC) != 0) finish(KEEL_SUPERVISOR_NOT_STARTED, errno);
    pid_t parent = getpid(), child = fork();
    if (child < 0) finish(KEEL_SUPERVISOR_NOT_STARTED, errno);
    if (child == 0) {
        if (channel >= 0) fcntl(channel, F_SETFD, 0);
        become(job, folder, parent, problems[1]);
    }
    if (channel >= 0) close(channel);
    close(problems[1]);
    int32_t problem;
    ssize_t count;
    do count = read(problems[0], &problem, sizeof problem);
    while (count < 0 && errno == EINTR);
    close(problems[0]);
    if (count == sizeof problem) finish(KEEL_SUPERVISOR_NOT_STARTED, problem);
    return child;
}

// MARK: Its processes

struct process {
    pid_t id, parent;
    int is_ours;
};

static pid_t parent_of(pid_t id) {
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/%d/stat", id);
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) return 0;
    ssize_t count = read(descriptor, text, sizeof text - 1);
    close(descriptor);
    if (count <= 0) return 0;
    text[count] = 0;
    // The name in parentheses may hold anything: what follows begins behind the last one.
    char *end = strrchr(text, ')');
    int parent = 0;
    return end && sscanf(end + 1, " %*c %d", &parent) == 1 ? parent : 0;
}

/// Signals every descendant of this process but `spared`. As it is their subreaper, those whose parents have ended are among its children.
static void signal_all(int number, pid_t spared) {
    static struct process *known;
    static size_t room;
    DIR *folder = opendir("/proc");
    if (!folder) return;
    size_t count = 0;
    for (struct dirent *entry; (entry = readdir(folder));) {
        if (!isdigit((unsigned char)entry->d_name[0])) continue;
        if (count == room) {
            size_t more = room ? room * 2 : 1024;
            struct process *grown = realloc(known, more * sizeof *known);
            if (!grown) break;
            known = grown;
            room = more;
        }
        pid_t id = atoi(entry->d_name);
        known[count++] = (struct process){.id = id, .parent = parent_of(id)};
    }
    closedir(folder);
    pid_t self = getpid();
    // Ids are given out in a circle, so a child may stand before its parent: repeat until nobody is found.
    for (int found = 1; found;) {
        found = 0;
        for (size_t i = 0; i < count; i++) {
            if (known[i].is_ours) continue;
            int is_ours = known[i].parent == self;
            for (size_t j = 0; j < count && !is_ours; j++) is_ours = known[j].is_ours && known[j].id == known[i].parent;
            if (is_ours) known[i].is_ours = found = 1;
        }
    }
    for (size_t i = 0; i < count; i++)
        if (known[i].is_ours && known[i].id != spared) kill(known[i].id, number);
}

/// Ends all processes of a user who has none but this program's, in one step: signals one after the other could lose a race against what forks.
static void kill_user(const struct job *job) {
    pid_t child = fork();
    if (child == 0) {
        hurry();
        // A process that cannot become the user must not send it: as root it would reach everybody.
        if (job->uid > 0 && setgroups(0, NULL) == 0 && setresgid((gid_t)job->gid, (gid_t)job->gid, (gid_t)job->gid) == 0
            && setresuid((uid_t)job->uid, (uid_t)job->uid, (uid_t)job->uid) == 0 && getuid() == (uid_t)job->uid)
            kill(-1, SIGKILL);
        _exit(0);
    }
    while (child > 0 && waitpid(child, NULL, 0) < 0 && errno == EINTR) {}
}

/// Collects the children that have ended. Returns whether any is left; the program's status goes to `status`.
static int reap(pid_t program, int *status, int *has_ended) {
    for (;;) {
        int how;
        pid_t id = waitpid(-1, &how, WNOHANG);
        if (id == 0) return 1;
        if (id < 0 && errno != EINTR) return 0;
        if (id == program) {
            *status = how;
            *has_ended = 1;
        }
    }
}

static void supervise(int has_channel) {
    setsid();
    int last = has_channel ? KEEL_SUPERVISOR_CHANNEL : server;
    if (syscall(SYS_close_range, last + 1, ~0U, 0) != 0)
        for (int other = last + 1; other < 65536; other++) close(other);
    fcntl(server, F_SETFD, FD_CLOEXEC);
    if (has_channel) fcntl(KEEL_SUPERVISOR_CHANNEL, F_SETFD, FD_CLOEXEC);
    // Only the server ends this process; and the step cannot look into it.
    sigset_t all, children;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    sigemptyset(&children);
    sigaddset(&children, SIGCHLD);
    int ended = signalfd(-1, &children, SFD_CLOEXEC | SFD_NONBLOCK);
    if (ended < 0 || prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0) finish(KEEL_SUPERVISOR_NOT_STARTED, errno);
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    prctl(PR_SET_NAME, KEEL_SUPERVISOR_COMMAND, 0, 0, 0);
    struct job job = receive();
    pid_t program = start(&job, hold(job.folder), has_channel ? KEEL_SUPERVISOR_CHANNEL : -1);
    hurry();
    int status = 0, has_ended = 0;
    int64_t ending_since = -1;
    for (;;) {
        struct pollfd waiting[2] = {{.fd = ending_since < 0 ? server : -1, .events = POLLIN}, {.fd = ended, .events = POLLIN}};
        int64_t left = ending_since < 0 ? -1 : ending_since + job.grace_ms - now_ms();
        // What a program leaves behind ends with it at once; when it is ended from outside, all of it has the grace.
        int must_kill = ending_since < 0 ? has_ended : left <= 0;
        if (must_kill && job.has_own_user) kill_user(&job);
        if (must_kill) signal_all(SIGKILL, 0);
        poll(waiting, 2, must_kill ? 5 : (int)left);
        if (waiting[1].revents) {
            struct signalfd_siginfo ignored;
            while (read(ended, &ignored, sizeof ignored) > 0) {}
        }
        if (!reap(program, &status, &has_ended)) break;
        if (ending_since < 0 && waiting[0].revents) {
            ending_since = now_ms();
            if (job.grace_ms > 0) signal_all(SIGTERM, job.is_launcher ? program : 0);
        }
    }
    if (WIFSIGNALED(status)) finish(KEEL_SUPERVISOR_SIGNALLED, WTERMSIG(status));
    finish(KEEL_SUPERVISOR_EXITED, WEXITSTATUS(status));
}

__attribute__((constructor)) static void supervise_when_asked(int count, char **arguments) {
    if (count < 1 || count > 2 || strcmp(arguments[0], KEEL_SUPERVISOR_NAME) != 0) return;
    if (count == 1) supervise(0);
    else if (strcmp(arguments[1], KEEL_SUPERVISOR_WITH_CHANNEL) == 0) supervise(1);
}

int keel_punch_hole(int file, int64_t from, int64_t count) {
    return fallocate(file, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, from, count);
}
