import Contracts

/// What a trigger wants done.
public enum TriggerAction: Sendable, Hashable {
    case start(trigger: String, pipeline: String, parameters: JSON, now: Timestamp, reason: String)
    case skip(trigger: String, now: Timestamp, reason: String)

    public var trigger: String {
        switch self {
        case .start(let trigger, _, _, _, _), .skip(let trigger, _, _): trigger
        }
    }
}

/// Decides, without I/O, which triggers of one workspace fire: events and clock ticks in, actions out.
public struct TriggerEngine: Sendable {
    /// The ledger events that conditions are about; `data.eventTime` (ISO 8601, or µs since 1970) says when in event time, else the event's own time counts.
    public static let alertKind = "monitor.alert"
    public static let snapshotKind = "dataset.snapshot"

    /// What is remembered of one trigger.
    public struct Memory: Sendable, Hashable {
        /// When an event last fired it, in event time.
        public var firedAt: Timestamp?
        /// Up to when its schedules are done, in the clock's time.
        public var tickedAt: Timestamp
        /// The last ledger event that was considered.
        public var seenSeq: Int64
        /// Since when it fires no more; nil while it does.
        public var pausedAt: Timestamp?

        public init(firedAt: Timestamp? = nil, tickedAt: Timestamp, seenSeq: Int64, pausedAt: Timestamp? = nil) {
            self.firedAt = firedAt
            self.tickedAt = tickedAt
            self.seenSeq = seenSeq
            self.pausedAt = pausedAt
        }
    }

    public let triggers: [TriggerSpec]
    public private(set) var memory: [String: Memory]

    /// - Parameters:
    ///   - memory: of the triggers that are known already.
    ///   - now, seq: where those not in `memory` begin: they see only what comes after.
    public init(triggers: [TriggerSpec], memory: [String: Memory], now: Timestamp, seq: Int64) {
        self.triggers = triggers
        self.memory = [:]
        for trigger in triggers { self.memory[trigger.name] = memory[trigger.name] ?? Memory(tickedAt: now, seenSeq: seq) }
    }

    /// A ledger event. An event seen before does nothing.
    public mutating func observe(seq: Int64, kind: String, subject: String, data: JSON, at: Timestamp) -> [TriggerAction] {
        let time = TriggerEngine.eventTime(data) ?? at
        var actions: [TriggerAction] = []
        for trigger in triggers {
            guard var known = memory[trigger.name], seq > known.seenSeq else { continue }
            known.seenSeq = seq
            let condition = trigger.when.first { condition in
                switch condition {
                case .monitor(let name): kind == TriggerEngine.alertKind && subject == "Monitor/\(name)"
                case .snapshot(let name): kind == TriggerEngine.snapshotKind && subject == "Dataset/\(name)"
                case .schedule: false
                }
            }
            if let condition {
                if let pausedAt = known.pausedAt {
                    actions.append(.skip(trigger: trigger.name, now: time, reason: "\(condition) at \(time), paused since \(pausedAt)"))
                } else if let cooldown = trigger.cooldown, let last = known.firedAt, time < last + cooldown {
                    let until = last + cooldown
                    actions.append(.skip(trigger: trigger.name, now: time, reason: "\(condition) at \(time), cooling down until \(until)"))
                } else {
                    known.firedAt = time
                    actions.append(start(trigger, now: time, reason: "trigger \(trigger.name): \(condition) at \(time)"))
                }
            }
            memory[trigger.name] = known
        }
        return actions
    }

    /// An event that is none of the workspace's: nothing fires, and it is not considered again.
    public mutating func pass(seq: Int64) {
        for trigger in triggers {
            if let known = memory[trigger.name], seq > known.seenSeq { memory[trigger.name]?.seenSeq = seq }
        }
    }

    /// The clock says `now`. A schedule whose times passed unseen (the server was down) fires once.
    public mutating func tick(now: Timestamp) -> [TriggerAction] {
        var actions: [TriggerAction] = []
        for trigger in triggers {
            guard let since = memory[trigger.name]?.tickedAt, since < now else { continue }
            let due = trigger.when.compactMap { condition -> (Timestamp, Cron)? in
                guard case .schedule(let cron) = condition, let next = cron.next(after: since), next <= now else { return nil }
                return (next, cron)
            }
            guard let (time, cron) = due.min(by: { $0.0 < $1.0 }) else { continue }
            memory[trigger.name]?.tickedAt = now
            if let pausedAt = memory[trigger.name]?.pausedAt {
                actions.append(.skip(trigger: trigger.name, now: now, reason: "schedule \(cron), due at \(time), paused since \(pausedAt)"))
                continue
            }
            actions.append(start(trigger, now: now, reason: "trigger \(trigger.name): schedule \(cron), due at \(time)"))
        }
        return actions
    }

    /// Stops a trigger from firing, or lets it fire again: what happened meanwhile is not made up for.
    public mutating func pause(_ trigger: String, since time: Timestamp?) { memory[trigger]?.pausedAt = time }

    /// Takes a start back that was not possible: the cool-down does not begin with it.
    public mutating func startFailed(_ trigger: String, before: Memory) { memory[trigger]?.firedAt = before.firedAt }

    private func start(_ trigger: TriggerSpec, now: Timestamp, reason: String) -> TriggerAction {
        .start(trigger: trigger.name, pipeline: trigger.run, parameters: trigger.with, now: now, reason: reason)
    }

    private static func eventTime(_ data: JSON) -> Timestamp? {
        guard let value = data["eventTime"] else { return nil }
        return value.integer.flatMap { Timestamp(exactly: $0) } ?? value.string.flatMap { Timestamp($0) }
    }
}
