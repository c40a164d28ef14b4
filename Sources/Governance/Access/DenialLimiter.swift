import Contracts

/// A refusal as the ledger gets it: how often the same one happened.
struct Denial: Sendable, Hashable {
    let caller: Caller
    /// What was refused: an action, or `authenticate.` and the reason why there is no caller.
    let action: String
    /// What it was for; `*` when refusals of many kinds are counted together.
    let subject: String
    /// How many refusals this event stands for.
    let count: Int64
}

/// Decides which refusals become ledger events, without I/O.
///
/// The first of each (caller, action, subject) in a minute becomes an event at once; those that follow within the minute are counted and become
/// one event when the minute is over. At most `kindsMax` different ones are told apart in a minute; beyond, all are counted together.
/// So a flood of refusals costs at most 2 × (`kindsMax` + 1) events a minute, and none is left out of the counts.
struct DenialLimiter: Sendable {
    static let window = TimeSpan.seconds(60)
    static let kindsMax = 64

    private struct Key: Hashable {
        let name: String
        let persona: Persona
        let workspace: WorkspaceID
        let actors: [String]
        let action: String
        let subject: String

        init(_ caller: Caller, _ action: String, _ subject: String) {
            name = caller.name
            persona = caller.persona
            workspace = caller.workspace
            actors = caller.actors
            self.action = action
            self.subject = subject
        }
    }
    private var start: Timestamp?
    private var held: [Key: Denial] = [:]
    private static let others = Key(Caller(name: "*", persona: .service, requestID: ""), "*", "*")

    /// The events to record now.
    mutating func note(_ caller: Caller, _ action: String, _ subject: String, at now: Timestamp) -> [Denial] {
        var out: [Denial] = []
        if let start, now < start + DenialLimiter.window, now >= start {
        } else {
            out = flush()
            start = now
        }
        var key = Key(caller, action, subject)
        if held[key] == nil, held.count >= DenialLimiter.kindsMax { key = DenialLimiter.others }
        if let before = held[key] {
            held[key] = Denial(caller: before.caller, action: before.action, subject: before.subject, count: before.count + 1)
        } else {
            let overflow = key == DenialLimiter.others
            held[key] = Denial(caller: caller, action: action, subject: overflow ? "*" : subject, count: 0)
            out.append(Denial(caller: caller, action: action, subject: overflow ? "*" : subject, count: 1))
        }
        return out
    }

    /// What was counted since its first event; the window ends.
    mutating func flush() -> [Denial] {
        defer { (held, start) = ([:], nil) }
        return held.values.filter { $0.count > 0 }.sorted { ($0.caller.name, $0.subject) < ($1.caller.name, $1.subject) }
    }

    /// Takes back what could not be recorded, to count it with the next.
    mutating func restore(_ denials: [Denial], at now: Timestamp) {
        for denial in denials {
            let key = Key(denial.caller, denial.action, denial.subject)
            if start == nil { start = now }
            let before = held[key]?.count ?? 0
            held[key] = Denial(caller: denial.caller, action: denial.action, subject: denial.subject, count: before + denial.count)
        }
    }
}
