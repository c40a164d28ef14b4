import Contracts

/// A model card (Mitchell et al., 2019) with Hugging Face's metadata: what is known of one version, and what is not stated.
public struct ModelCard: Sendable {
    /// What people say of the model, with the revision of the resource that says it.
    public struct Statements: Sendable, Hashable {
        public let spec: ModelCardSpec
        public let revision: Int64
        public let at: Timestamp
        public let by: String

        public init(spec: ModelCardSpec, revision: Int64, at: Timestamp, by: String) {
            (self.spec, self.revision, self.at, self.by) = (spec, revision, at, by)
        }
    }
    public struct Dataset: Sendable, Hashable {
        public let name: String
        public let digest: String
        /// `training`, `evaluation`.
        public let context: String?
        public let source: String

        public init(name: String, digest: String, context: String?, source: String) {
            (self.name, self.digest, self.context, self.source) = (name, digest, context, source)
        }
    }
    /// The run that made it.
    public struct Training: Sendable, Hashable {
        public var run: String
        public var startedAt: Timestamp
        public var by: String
        /// The program and the commit it was of.
        public var source: String?
        public var commit: String?
        public var params: [ModelTag]

        public init(run: String, startedAt: Timestamp, by: String, source: String?, commit: String?, params: [ModelTag]) {
            (self.run, self.startedAt, self.by, self.source, self.commit, self.params) = (run, startedAt, by, source, commit, params)
        }
    }
    /// A part of the data: the rows whose `column` is `value`.
    public struct Slice: Sendable, Hashable, Comparable {
        public let column: String
        public let value: String
        public init(column: String, value: String) { (self.column, self.value) = (column, value) }
        public static func < (a: Slice, b: Slice) -> Bool { (a.column, a.value) < (b.column, b.value) }
    }
    public struct Measurement: Sendable, Hashable {
        public let name: String
        public let value: Double
        /// Nil for all of the data.
        public let slice: Slice?
        public init(name: String, value: Double, slice: Slice? = nil) { (self.name, self.value, self.slice) = (name, value, slice) }
    }
    /// Something that was decided about it.
    public struct Decision: Sendable, Hashable {
        public let at: Timestamp
        public let by: String
        public let text: String
        public init(at: Timestamp, by: String, text: String) { (self.at, self.by, self.text) = (at, by, text) }
    }

    public let version: ModelVersion
    public let model: RegisteredModel
    public var statements: Statements?
    public var training: Training?
    /// Where the inputs come from.
    public var featureService: String?
    /// The instant of the last row that it was trained on.
    public var trainedUntil: Timestamp?
    public var datasets: [Dataset] = []
    public var measurements: [Measurement] = []
    /// Oldest first.
    public var decisions: [Decision] = []
    /// Whether there are decisions before the first of these.
    public var hasOlderDecisions = false
    /// What Keel itself saw; nil for a version that another client registered.
    public var evidence: VersionEvidence?

    public init(model: RegisteredModel, version: ModelVersion) { (self.model, self.version) = (model, version) }

    /// Hugging Face's metadata and the text.
    public var markdown: String { frontMatter + "\n" + body.joined(separator: "\n") + "\n" }

    var overall: [Measurement] { measurements.filter { $0.slice == nil } }
    var sliced: [(slice: Slice, measurements: [Measurement])] {
        Dictionary(grouping: measurements.filter { $0.slice != nil }) { $0.slice ?? Slice(column: "", value: "") }
            .sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
    }
}
