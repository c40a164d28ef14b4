import Contracts

/// How traffic moves from the incumbent to a candidate.
public struct RolloutPlan: Sendable, Hashable {
    /// Requests that the candidate must have answered in shadow before it answers callers; 0 is no shadow phase.
    public var shadowRequests: Int
    /// The candidate's share of requests in each canary step, rising. Empty: promoted after the shadow phase.
    public var shares: [Double]
    /// Requests of the endpoint in each canary step.
    public var stepRequests: Int
    /// When one is true the candidate is taken back.
    public var rollbackWhen: [RolloutCondition]
    /// Requests that the candidate must have seen before its errors, latency and scores count as evidence. Never more than the first phase
    /// brings, so that every phase is judged.
    public var minimumRequests: Int
    /// Labelled requests, scored by both releases, before log loss and AUC count as evidence.
    public var minimumLabels: Int

    public init(
        shadowRequests: Int = 0, shares: [Double] = [], stepRequests: Int = 1000, rollbackWhen: [RolloutCondition] = [],
        minimumRequests: Int = 100,
        minimumLabels: Int = 200
    ) {
        (self.shadowRequests, self.shares, self.stepRequests) = (shadowRequests, shares, stepRequests)
        (self.rollbackWhen, self.minimumRequests, self.minimumLabels) = (rollbackWhen, minimumRequests, minimumLabels)
    }

    init(_ reader: FieldReader) throws(KeelError) {
        var (shadow, step) = (0, 1000)
        var shares: [Double] = []
        if let inner = try reader.optionalObject("shadow") {
            shadow = try inner.int("requests")
            guard shadow >= 0 else { throw inner.failure("requests", "must not be negative") }
            try inner.finish()
        }
        if let inner = try reader.optionalObject("canary") {
            shares = try RolloutPlan.shares(inner)
            if let every = try inner.optionalObject("every") {
                step = try every.positive("requests") ?? 1000
                try every.finish()
            }
            try inner.finish()
        }
        let conditions = try (reader.strings("rollbackWhen") ?? []).enumerated().mapAll { (i, text) throws(KeelError) in
            do throws(KeelError) { return try RolloutCondition(text) } catch { throw error.at("\(reader.path).rollbackWhen[\(i)]") }
        }
        var (requests, labels) = (100, 200)
        if let inner = try reader.optionalObject("minimum") {
            requests = try inner.positive("requests") ?? requests
            labels = try inner.positive("labels") ?? labels
            try inner.finish()
        }
        try reader.finish()
        self.init(
            shadowRequests: shadow, shares: shares, stepRequests: step, rollbackWhen: conditions, minimumRequests: requests,
            minimumLabels: labels)
    }

    private static func shares(_ reader: FieldReader) throws(KeelError) -> [Double] {
        guard let items = try reader.required("shares").array else {
            throw reader.failure("shares", "must be a list such as [5%, 25%, 100%]")
        }
        var out: [Double] = []
        for (i, item) in items.enumerated() {
            let path = "\(reader.path).shares[\(i)]"
            guard let share = FieldReader.share(item), share > 0 else {
                throw .invalid("must be a share above 0% and at most 100%", hint: "write 5% or 0.05", path: path)
            }
            if let last = out.last, share <= last { throw .invalid("shares must rise from step to step", path: path) }
            out.append(share)
        }
        return out
    }
}
