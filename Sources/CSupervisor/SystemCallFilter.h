#ifndef KEEL_SYSTEM_CALL_FILTER_H
#define KEEL_SYSTEM_CALL_FILTER_H

#include <linux/filter.h>

enum { KEEL_FILTER_LENGTH_MAX = 256 };

/// Writes the filter of system calls for programs whose code is not trusted (seccomp(2)): what a program that computes never needs is refused.
/// - Parameter allows_internet: whether it may make sockets of IPv4 and IPv6.
/// - Returns: the number of instructions; 0 on an architecture that it is not written for.
unsigned short keel_filter(struct sock_filter *out, int allows_internet);

/// Puts this thread under the filter, for ever. It needs PR_SET_NO_NEW_PRIVS. Returns 0, or -1 with errno.
int keel_filter_install(int allows_internet);

#endif
