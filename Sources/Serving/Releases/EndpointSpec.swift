import Contracts

/// A name that serves traffic in one environment: what the user declares of it.
///
///     model: models:/churn@champion         # deployed when the declaration is applied; without it by a pipeline, or keel deploy
///     features: delay                       # a feature service; without it the request carries the model's inputs
///     rollout:
///       shadow: { requests: 500 }           # default: no shadow phase
///       canary: { shares: [5%, 25%, 100%], every: { requests: 1000 } }
///       rollbackWhen: ["errors > 1%"]
///       minimum: { requests: 100, labels: 200 }
///     log: { sample: 100%, whenFull: block, durability: buffered }
///     label: { within: 90d }                # later labels are refused; default: whenever they come
///     limits: { rows: 10000, queue: 256, bodyBytes: 16777216, deadline: 10s }
///
///     gate: optional                        # a release may have a model that no gate judged
///     approval: required                    # a release needs an approval of its version, besides its gate
///     signature: any                        # a release may take or give something else than the one before
///
/// One row of a request counts as one request everywhere in a rollout.
public struct EndpointSpec: Sendable, Hashable {
    public static let kind = "Endpoint"
    public let ref: ResourceRef
    /// The version that is deployed when the declaration is new or has changed.
    public let model: String?
    /// The model of another server that is registered and deployed in its place.
    public let remote: RemoteModel?
    /// Versions that answer before and after the model, in every release to this endpoint.
    public let before: [String]
    public let after: [String]
    /// The feature service that enriches requests.
    public let features: String?
    public let rollout: RolloutPlan
    public let log: LogPolicy
    /// What is demanded of labels; nil takes them whenever they come.
    public let label: LabelPolicy?
    public let limits: EndpointLimits
    public let gate: GateRule
    public let approval: Approval
    public let signature: SignatureRule
    private static let partsMax = 8

    /// What a release may have that no gate judged. A model that a gate refused takes the permission to force in either case.
    public enum GateRule: String, Sendable, CaseIterable {
        /// Nothing, but for who may force.
        case required
        /// Models that no gate was asked about, which the release says.
        case optional
    }

    /// Whether somebody has to take responsibility for a version before it is released.
    public enum Approval: String, Sendable, CaseIterable { case optional, required }

    /// What a release may take and give beside the one that answers requests now.
    public enum SignatureRule: String, Sendable, CaseIterable {
        /// Whatever its callers do not notice.
        case compatible
        case any
    }

    public init(
        _ ref: ResourceRef, model: String? = nil, remote: RemoteModel? = nil, before: [String] = [], after: [String] = [], features: String? = nil,
        rollout: RolloutPlan = RolloutPlan(), log: LogPolicy = LogPolicy(), label: LabelPolicy? = nil, limits: EndpointLimits = EndpointLimits(),
        gate: GateRule = .required, approval: Approval = .optional, signature: SignatureRule = .compatible
    ) {
        self.ref = ref
        self.model = model
        self.remote = remote
        self.before = before
        self.after = after
        self.features = features
        self.rollout = rollout
        self.log = log
        self.label = label
        self.limits = limits
        self.gate = gate
        self.approval = approval
        self.signature = signature
    }

    /// Decodes an `Endpoint` resource strictly.
    /// - Throws: `invalidArgument` with the path of the field.
    public init(resource: Resource) throws(KeelError) {
        guard resource.kind == "Endpoint" else { throw .invalid("'\(resource.kind)' is not an Endpoint", path: "kind") }
        if let environment = resource.environment { _ = try EnvironmentName(environment) }
        let reader = try FieldReader(resource.spec, path: "spec")
        ref = resource.ref(in: resource.workspace ?? .default)
        model = try reader.optionalString("model")
        before = try reader.strings("before") ?? []
        after = try reader.strings("after") ?? []
        for (field, uris) in [("model", model.map { [$0] } ?? []), ("before", before), ("after", after)] {
            for (i, uri) in uris.enumerated() where !uri.hasPrefix("models:/") {
                throw reader.failure(
                    field == "model" ? field : "\(field)[\(i)]", "names no version of a model", hint: "models:/NAME/VERSION or models:/NAME@ALIAS")
            }
        }
        guard before.count + after.count < EndpointSpec.partsMax else {
            throw reader.failure("before", "with 'after' there are \(before.count + after.count) models", hint: "at most \(EndpointSpec.partsMax - 1)")
        }
        remote = try reader.optionalObject("remote").map { (inner) throws(KeelError) in try RemoteModel(inner) }
        guard model == nil || remote == nil else {
            throw reader.failure("remote", "an endpoint has one model, and 'model' names it", hint: "leave one of the two out")
        }
        features = try reader.optionalString("features")
        rollout = try reader.optionalObject("rollout").map { (inner) throws(KeelError) in try RolloutPlan(inner) } ?? RolloutPlan()
        log = try reader.optionalObject("log").map { (inner) throws(KeelError) in try LogPolicy(inner) } ?? LogPolicy()
        label = try reader.optionalObject("label").map { (inner) throws(KeelError) in try LabelPolicy(inner) }
        limits = try reader.optionalObject("limits").map { (inner) throws(KeelError) in try EndpointLimits(inner) } ?? EndpointLimits()
        gate = try reader.word("gate", default: .required)
        approval = try reader.word("approval", default: .optional)
        signature = try reader.word("signature", default: .compatible)
        try reader.finish()
    }

    /// How requests, tables and messages name it inside its workspace: `delay`, `delay@staging`.
    var name: String { ref.qualifiedName }
}

/// What the prediction log does, and when it cannot keep up.
public struct LogPolicy: Sendable, Hashable {
    /// - block: the request is refused as unavailable: nothing is answered that is not logged.
    /// - sample: from half full on, ever fewer requests are logged; each left out is counted.
    /// - drop: what does not fit is not logged, and counted.
    public enum Overflow: String, Sendable, CaseIterable { case block, sample, drop }

    /// What is certain of a prediction when it is answered.
    ///
    /// - buffered: the operating system has it. A killed server loses nothing; a power cut may cost the last 100 ms.
    /// - acknowledged: the disk has it.
    public enum Durability: String, Sendable, CaseIterable { case buffered, acknowledged }

    /// The share of prediction ids that are logged, 0…1.
    public var sample: Double
    public var whenFull: Overflow
    public var durability: Durability

    public init(sample: Double = 1, whenFull: Overflow = .block, durability: Durability = .buffered) {
        self.sample = sample
        self.whenFull = whenFull
        self.durability = durability
    }

    init(_ reader: FieldReader) throws(KeelError) {
        sample = try reader.optionalShare("sample") ?? 1
        whenFull = try reader.word("whenFull", default: .block)
        durability = try reader.word("durability", default: .buffered)
        try reader.finish()
    }
}

/// What an endpoint demands of the truths of its predictions.
public struct LabelPolicy: Sendable, Hashable {
    /// How long after its prediction's event time a label may become known. A later one is refused.
    public var within: TimeSpan

    public init(within: TimeSpan) { self.within = within }

    init(_ reader: FieldReader) throws(KeelError) {
        within = try reader.span("within")
        try reader.finish()
    }
}

/// Bounds on what one endpoint accepts.
public struct EndpointLimits: Sendable, Hashable {
    /// Rows in one request.
    public var rows: Int
    /// Requests in flight at once; more are refused as unavailable.
    public var queue: Int
    /// Bytes of a request's body; APIs enforce it.
    public var bodyBytes: Int
    /// How long a request may take that a model holds up; then it is answered with 504 and the model is ended. At most an hour.
    public var deadline: TimeSpan

    public init(rows: Int = 10_000, queue: Int = 256, bodyBytes: Int = 16 << 20, deadline: TimeSpan = .seconds(10)) {
        self.rows = rows
        self.queue = queue
        self.bodyBytes = bodyBytes
        self.deadline = deadline
    }

    init(_ reader: FieldReader) throws(KeelError) {
        rows = try reader.positive("rows") ?? 10_000
        queue = try reader.positive("queue") ?? 256
        bodyBytes = try reader.positive("bodyBytes") ?? 16 << 20
        deadline = try reader.optionalSpan("deadline") ?? .seconds(10)
        guard deadline <= .hours(1) else { throw reader.failure("deadline", "must be at most 1h") }
        try reader.finish()
    }
}

extension FieldReader {
    /// A share written `5%` or as a number from 0 to 1.
    func optionalShare(_ name: String) throws(KeelError) -> Double? {
        guard let json = optional(name) else { return nil }
        guard let share = FieldReader.share(json) else {
            throw failure(name, "must be a share from 0% to 100%", hint: "write 5% or 0.05")
        }
        return share
    }

    static func share(_ json: JSON) -> Double? {
        var value = json.number
        if let text = json.string, text.hasSuffix("%") { value = Double(text.dropLast()).map { $0 / 100 } }
        guard let value, value >= 0, value <= 1 else { return nil }
        return value
    }

    func positive(_ name: String) throws(KeelError) -> Int? {
        guard let value = try optionalInt(name) else { return nil }
        guard value > 0 else { throw failure(name, "must be above 0") }
        return value
    }
}
