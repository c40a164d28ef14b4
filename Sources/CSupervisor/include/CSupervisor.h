#ifndef KEEL_SUPERVISOR_H
#define KEEL_SUPERVISOR_H

#include <stdint.h>

/// A program (of a step, or a worker) never outlives its server: it runs under a supervisor, a process that watches a socket to the server and ends it
/// with everything that it started when the socket closes.
///
/// Every executable that links this target is such a supervisor when it is started under this name with a socket as descriptor 3: it is then taken
/// over before `main`, so it is one thread without a runtime. No function starts it.
///
/// The server sends one job, a `uint32_t` length and that many bytes of texts, each ended by a zero byte:
///
///     grace in ms, user id or -1, group id,
///     limits, 0 for none: address space in bytes, CPU seconds, private memory in bytes, processes of the user, open files, bytes of a file,
///     1 when the program is a launcher that sets privileges itself and must not get the polite signal, else 0,
///     1 when the program gets a network of its own, without a way out, for which this process must be root, else 0,
///     the filter of system calls: 0 for none, or a number below,
///     1 when the user has no processes but the program's, so that all of them can be ended, else 0,
///     working directory, number of arguments, the program and its arguments, variables as NAME=VALUE
///
/// A launcher is named by an absolute path and gets none of the variables. It finds them as shell text (`export NAME='VALUE'`) in a file that is open
/// as descriptor KEEL_SUPERVISOR_VARIABLES: what it starts reads them after it has given up its privileges. They are never among the arguments, which
/// every user of the machine can see. It finds the filter as descriptor KEEL_SUPERVISOR_FILTER and puts the program under it; it also sets the limit of
/// processes, which would count the launcher's own user.
///
/// Started with the one argument KEEL_SUPERVISOR_WITH_CHANNEL, it hands its descriptor KEEL_SUPERVISOR_CHANNEL to the program, under the same number, and
/// keeps nothing of it.
///
/// Then the server sends nothing more. When it shuts down its side (cancellation) or ends, the program's processes get SIGTERM and after the grace SIGKILL.
/// The supervisor answers once, with two `int32_t`, when no process is left: what happened, and the exit code, signal or errno.
#define KEEL_SUPERVISOR_NAME "keel-step-supervisor"
/// What `/proc` shows as its command.
#define KEEL_SUPERVISOR_COMMAND "keel-supervisor"
#define KEEL_SUPERVISOR_VARIABLES 9
#define KEEL_SUPERVISOR_FILTER 10
/// With and without sockets of the internet (`SystemCallFilter.h`).
#define KEEL_SUPERVISOR_FILTER_WITH_INTERNET 1
#define KEEL_SUPERVISOR_FILTER_WITHOUT_INTERNET 2
#define KEEL_SUPERVISOR_WITH_CHANNEL "channel"
#define KEEL_SUPERVISOR_CHANNEL 4
#define KEEL_SUPERVISOR_EXITED 0
#define KEEL_SUPERVISOR_SIGNALLED 1
#define KEEL_SUPERVISOR_NOT_STARTED 2

/// Gives a part of a file back to the disk; it reads as zeros, and everything keeps its place. For fallocate(2), which Swift does not see.
/// Returns 0, or -1 where the file system has no holes.
int keel_punch_hole(int file, int64_t from, int64_t count);

/// Whether programs can be put under a filter of system calls here: the architecture is one that it is written for, and the system takes it.
int keel_filter_is_available(void);

#endif
