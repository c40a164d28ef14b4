import Contracts
import Foundation

/// How much memory there is for this process.
package enum MachineMemory {
    /// A quarter of the machine's, or of what the process's control group may have if that is less, and no less than a server works with.
    package static var standardBudget: Int { max(MemoryBudget.bytesMin, min(physicalBytes, groupBytes ?? .max) / 4) }

    private static var physicalBytes: Int { Int(clamping: ProcessInfo.processInfo.physicalMemory) }

    /// The least limit of the process's control group and those above it, in either version of the interface (cgroups(7)).
    private static var groupBytes: Int? {
        guard let text = contents("/proc/self/cgroup") else { return nil }
        var least: Int?
        for line in text.split(separator: "\n") {
            let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard fields.count == 3 else { continue }
            let root: String
            let file: String
            if fields[0] == "0" {
                root = "/sys/fs/cgroup"
                file = "memory.max"
            } else if fields[1].split(separator: ",").contains("memory") {
                root = "/sys/fs/cgroup/memory"
                file = "memory.limit_in_bytes"
            } else {
                continue
            }
            var group = String(fields[2])
            while true {
                if let limit = contents(root + group + "/" + file).flatMap({ Int($0.trimmingCharacters(in: .whitespacesAndNewlines)) }) {
                    least = min(least ?? .max, limit)
                }
                guard let slash = group.lastIndex(of: "/"), !group.isEmpty else { break }
                group = String(group[..<slash])
            }
        }
        return least
    }

    private static func contents(_ path: String) -> String? {
        FileManager.default.contents(atPath: path).map { String(decoding: $0, as: UTF8.self) }
    }

    /// `2GiB`, `512MiB`, `300MB` or a number of bytes; nil when it is none of these.
    package static func bytes(_ text: String) -> Int? {
        let digits = text.prefix { $0.isASCII && $0.isNumber }
        let units = ["": 1, "b": 1, "kb": 1000, "mb": 1_000_000, "gb": 1_000_000_000, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30]
        guard let number = Int(digits), let unit = units[text.dropFirst(digits.count).trimmingCharacters(in: .whitespaces).lowercased()]
        else { return nil }
        let (bytes, isTooLarge) = number.multipliedReportingOverflow(by: unit)
        return isTooLarge ? nil : bytes
    }
}
