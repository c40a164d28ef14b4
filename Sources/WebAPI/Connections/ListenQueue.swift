import Contracts
import Foundation

/// The queue in which the system keeps connections until the server takes them.
///
/// A client whose connection finds the queue full tries again only after a second.
public enum ListenQueue {
    /// How long a queue the server asks for.
    public static let length = 4096
    /// The setting of the system that no queue is longer than.
    public static let setting = "net.core.somaxconn"

    /// The value of `setting`; nil where the system has none.
    public static func systemMax() -> Int? {
        guard let data = FileManager.default.contents(atPath: "/proc/sys/net/core/somaxconn") else { return nil }
        return Int(String(decoding: data, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines))
    }

    /// What is wrong with the system's setting when so many connections may come at once; nil when it is large enough, or not known.
    public static func problem(systemMax: Int?, connectionsMax: Int) -> KeelError? {
        let needed = min(length, connectionsMax)
        guard let systemMax, systemMax < needed else { return nil }
        return KeelError(
            .failedPrecondition,
            "\(setting) is \(systemMax): of more connections than that at once, some wait a second (\(needed) are allowed, by connections.max)",
            hint: "sysctl -w \(setting)=\(needed), then start the server again")
    }
}
