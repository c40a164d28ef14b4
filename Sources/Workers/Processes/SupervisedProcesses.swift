import CSupervisor
import Foundation

#if canImport(Glibc)
    import Glibc
#endif

/// The processes of supervised programs among all that the machine shows.
///
/// A program may run as the server's own user, so that the user of a connection does not tell it from the person at the machine. Its supervisor does:
/// every process of a program has one among its ancestors for as long as it lives (`CSupervisor`), those of a server that was killed too.
public enum SupervisedProcesses {
    /// Whether a process that belongs to no program, and is not this one, holds the socket. When it cannot be found out, none does.
    ///
    /// What the server asks itself, such as a webhook that somebody gave its own address, is not asked by the person at the machine.
    /// - Parameter inode: of the socket, as `/proc/PID/fd` shows it.
    public static func areNotTheHolders(ofSocket inode: UInt64) -> Bool {
        if thisHolds(inode) { return false }
        let processes = ProcessTable.read().processes
        let supervisors = Set(processes.filter { $0.value.name == KEEL_SUPERVISOR_COMMAND }.keys)
        if supervisors.isEmpty { return true }
        let link = "socket:[\(inode)]"
        return processes.keys.contains { id in isOutside(id, processes, supervisors) && holds(id, link) }
    }

    /// Its ancestors are known up to the first process, and none is a supervisor.
    private static func isOutside(_ id: pid_t, _ processes: [pid_t: ProcessTable.Process], _ supervisors: Set<pid_t>) -> Bool {
        var at = id
        for _ in 0...processes.count {
            if at == 0 { return true }
            guard !supervisors.contains(at), let process = processes[at] else { return false }
            at = process.parent
        }
        return false
    }

    private static func holds(_ id: pid_t, _ link: String) -> Bool {
        let folder = "/proc/\(id)/fd"
        let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        return names.contains { (try? FileManager.default.destinationOfSymbolicLink(atPath: "\(folder)/\($0)")) == link }
    }

    private static func thisHolds(_ inode: UInt64) -> Bool {
        descriptors().contains { (descriptor: Int32) in
            var status = stat()
            return fstat(descriptor, &status) == 0 && status.st_mode & S_IFMT == S_IFSOCK && status.st_ino == inode
        }
    }

    /// Those of this process; where none is left to list them with, all that it may have.
    private static func descriptors() -> any Sequence<Int32> {
        if let names = try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd") { return names.lazy.compactMap { Int32($0) } }
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        return 0..<Int32(clamping: min(limit.rlim_cur, 1 << 20))
    }
}
