import Contracts

/// What starts a pipeline: alerts, new snapshots, schedules.
public struct TriggerSpec: Sendable, Hashable {
    public enum Condition: Sendable, Hashable, CustomStringConvertible {
        /// `monitor/NAME fires`, `monitor/NAME@staging fires`
        case monitor(String)
        /// `dataset/NAME snapshot`
        case snapshot(String)
        /// `schedule 0 4 1 * *`
        case schedule(Cron)

        public var description: String {
            switch self {
            case .monitor(let name): "monitor/\(name) fires"
            case .snapshot(let name): "dataset/\(name) snapshot"
            case .schedule(let cron): "schedule \(cron)"
            }
        }
    }

    public let name: String
    public private(set) var when: [Condition]
    /// The pipeline.
    public let run: String
    /// Its parameters; the word `now` means the event time of what fired.
    public let with: JSON
    /// No further start by an event within this, in event time; schedules are as rare as they say.
    public let cooldown: TimeSpan?

    public init(resource: Resource) throws(KeelError) {
        name = resource.name
        let reader = try FieldReader(resource.spec, path: "spec")
        var when: [Condition] = []
        for (i, text) in (try reader.strings("when") ?? []).enumerated() {
            when.append(try TriggerSpec.condition(text, path: "spec.when[\(i)]"))
        }
        guard !when.isEmpty else {
            throw reader.failure("when", "a trigger needs at least one condition", hint: "when: [monitor/NAME fires]")
        }
        self.when = when
        run = try reader.string("run")
        with = reader.optional("with") ?? .object([])
        guard case .object = with else { throw reader.failure("with", "must be an object, not \(with.kind)") }
        cooldown = try reader.optionalSpan("cooldown")
        try reader.finish()
    }

    /// The same with other names of monitors.
    public func watching(_ name: (String) -> String) -> TriggerSpec {
        var spec = self
        spec.when = when.map { if case .monitor(let monitor) = $0 { .monitor(name(monitor)) } else { $0 } }
        return spec
    }

    private static func condition(_ text: String, path: String) throws(KeelError) -> Condition {
        let words = text.split(separator: " ").map(String.init)
        if words.first == "schedule" {
            do throws(KeelError) { return .schedule(try Cron(words.dropFirst().joined(separator: " "))) } catch { throw error.at(path) }
        }
        let subject = words.first?.split(separator: "/", omittingEmptySubsequences: false).map(String.init) ?? []
        if words.count == 2, subject.count == 2 {
            if subject[0] == "monitor", words[1] == "fires" {
                return .monitor(try ResourceRef("Monitor", qualifiedName: subject[1], in: .default, path: path).qualifiedName)
            }
            try Identifier.check(name: subject[1], path: path)
            if subject[0] == "dataset", words[1] == "snapshot" { return .snapshot(subject[1]) }
        }
        throw .invalid(
            "'\(text.prefix(100))' is no condition",
            hint: "one of: 'monitor/NAME fires', 'dataset/NAME snapshot', 'schedule MINUTE HOUR DAY MONTH WEEKDAY'", path: path)
    }
}
