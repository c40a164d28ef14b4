#if canImport(Glibc)
    import Glibc
#endif

/// The processes that the machine shows, as they were when they were read one by one.
package struct ProcessTable: Sendable {
    package struct Process: Sendable {
        let name: String
        package let parent: pid_t
        /// Resident memory.
        let memoryBytes: Int64
        let threads: Int
    }

    package let processes: [pid_t: Process]

    /// What a process and everything that descends from it take together. Pages that several of them share count for each.
    package struct Usage: Sendable, Hashable {
        package var memoryBytes: Int64 = 0
        package var processes = 0
        package var threads = 0

        package init() {}
    }

    package static func read() -> ProcessTable {
        var out: [pid_t: Process] = [:]
        guard let folder = opendir("/proc") else { return ProcessTable(processes: [:]) }
        defer { closedir(folder) }
        var buffer = [UInt8](repeating: 0, count: 1024)
        let page = Int64(sysconf(Int32(_SC_PAGESIZE)))
        while let entry = readdir(folder) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            guard let id = pid_t(name) else { continue }
            let file = open("/proc/\(id)/stat", O_RDONLY | O_CLOEXEC)
            guard file >= 0 else { continue }
            let count = Glibc.read(file, &buffer, buffer.count)
            close(file)
            if count > 0, let process = process(buffer[0..<count], page) { out[id] = process }
        }
        return ProcessTable(processes: out)
    }

    /// `17 (name) S 1 …`: the name may hold anything, parentheses too.
    private static func process(_ text: ArraySlice<UInt8>, _ page: Int64) -> Process? {
        guard let begin = text.firstIndex(of: UInt8(ascii: "(")), let end = text.lastIndex(of: UInt8(ascii: ")")), begin < end else {
            return nil
        }
        let fields = text[(end + 1)...].split(separator: UInt8(ascii: " "))
        func number(_ i: Int) -> Int64? { i < fields.count ? Int64(String(decoding: fields[i], as: UTF8.self)) : nil }
        // proc(5): what follows the name begins with the third field.
        guard let parent = number(1), let threads = number(17), let pages = number(21) else { return nil }
        return Process(
            name: String(decoding: text[(begin + 1)..<end], as: UTF8.self), parent: pid_t(clamping: parent), memoryBytes: pages * page,
            threads: Int(threads))
    }

    /// What those below each of `roots` take; the roots themselves do not count.
    package func usage(below roots: Set<pid_t>) -> [pid_t: Usage] {
        var out = Dictionary(uniqueKeysWithValues: roots.map { ($0, Usage()) })
        for (id, process) in processes where !roots.contains(id) {
            guard let root = root(of: id, in: roots) else { continue }
            out[root]?.memoryBytes += process.memoryBytes
            out[root]?.processes += 1
            out[root]?.threads += process.threads
        }
        return out
    }

    private func root(of id: pid_t, in roots: Set<pid_t>) -> pid_t? {
        var at = id
        for _ in 0...processes.count {
            guard let process = processes[at] else { return nil }
            at = process.parent
            if roots.contains(at) { return at }
        }
        return nil
    }
}
