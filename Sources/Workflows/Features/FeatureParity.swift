import Contracts
import Datasets
import Engines
import FeatureStore
import Foundation
import Serving
import Storage

/// Reads features for people, and checks that online and offline features agree.
public struct FeatureParity: Sendable {
    private let data: DatasetService
    private let features: FeatureStores
    private let runtime: ServingRuntime
    private let deployments: DeploymentService
    private let queries: PredictionQueries
    private let objects: FolderObjectStore
    private let analytics: DuckDB

    package init(
        data: DatasetService, features: FeatureStores, runtime: ServingRuntime, deployments: DeploymentService, queries: PredictionQueries,
        objects: FolderObjectStore, analytics: DuckDB
    ) {
        self.data = data
        self.features = features
        self.runtime = runtime
        self.deployments = deployments
        self.queries = queries
        self.objects = objects
        self.analytics = analytics
    }

    /// What a service answers to rows of JSON objects: the request's columns and the features.
    public func read(_ rows: JSON, service: String, _ grant: Grant) throws(KeelError) -> Table {
        try grant.require(.featuresRead, on: ResourceRef(FeatureServiceSpec.kind, service, in: grant.workspace))
        let features = features[grant.workspace]
        return try features.read(service: service, request: try FeatureParity.requestTable(rows, service, features.catalog))
    }

    /// Rows of JSON objects as the request table of a feature service.
    private static func requestTable(_ rows: JSON, _ service: String, _ catalog: FeatureCatalog) throws(KeelError) -> Table {
        guard let items = rows.array, !items.isEmpty else { throw .invalid("must be a list of objects with at least one", path: "rows") }
        let fields = try catalog.requestFields(service)
        for (i, item) in items.enumerated() where item.members == nil {
            throw .invalid("must be an object, not \(item.kind)", path: "rows[\(i)]")
        }
        var pairs: [(name: String, column: Column)] = []
        for field in fields {
            var column = Column(field.type == .timestamp ? .string : field.type)
            for (i, item) in items.enumerated() {
                do throws(KeelError) { try column.append(item[field.name]?.value ?? .null) } catch {
                    throw error.at("rows[\(i)].\(field.name)")
                }
            }
            pairs.append((field.name, column))
        }
        for (i, item) in items.enumerated() {
            if let stranger = item.members?.first(where: { member in !fields.contains { $0.name == member.key } }) {
                throw .invalid(
                    "'\(stranger.key)' is not a column of this service",
                    hint: nearest(stranger.key, in: fields.map(\.name)).map { "did you mean '\($0)'?" },
                    path: "rows[\(i)]")
            }
        }
        return try Table(pairs)
    }

    /// Whether a logged request has every column that the service asks for, and no other.
    private static func answers(_ request: JSON, _ fields: [Field]) -> Bool {
        let members = request.members ?? []
        let strangers = members.contains { member in !fields.contains { $0.name == member.key } }
        return !strangers && fields.allSatisfy { $0.nullable || request[$0.name].map { !$0.isNull } == true }
    }

    /// Replays logged online reads of an endpoint through the offline join.
    ///
    /// Each read is made again from the rows that had come by then. Reads that today's definition of the service cannot repeat are skipped and counted:
    /// they lack a request column that it has gained, have one that it has lost, or were made for another model's inputs. So are inexact ones, which asked
    /// for a time too far before the newest event of their key. Values that were read while rows were on their way into the features may be undecided
    /// (`ParityReport`): they are counted, and no difference.
    public func verify(endpoint: ResourceRef, sample: Int, _ grant: Grant) async throws -> JSON {
        try await runtime.flush()
        guard let release = try await ServingReports.stableRelease(endpoint, deployments), let service = release.featureService else {
            throw KeelError(
                .failedPrecondition, "endpoint '\(endpoint.qualifiedName)' reads no features", hint: "deploy a release with a feature service first")
        }
        let inputs = try await ModelBundle.read(release.bundle, from: objects).signature.inputs
        let sampled = try await queries.sampleReads(endpoint: endpoint, limit: sample, grant)
        guard !sampled.isEmpty else { throw KeelError(.failedPrecondition, "no predictions of '\(endpoint.qualifiedName)' are logged yet") }
        let workspace = grant.workspace
        let features = features[workspace]
        let fields = try features.catalog.requestFields(service)
        let repeatable = try sampled.filter { read in
            guard read.inputs.count == inputs.count else { return false }
            return FeatureParity.answers(try JSON.parse(read.request), fields)
        }
        let reads = repeatable.filter { !$0.isInexact }
        let inexactCount = repeatable.count - reads.count
        guard !reads.isEmpty else {
            guard inexactCount == 0 else {
                throw KeelError(
                    .failedPrecondition, "all \(inexactCount) logged predictions were asked for as of times too far in the past to be exact",
                    hint: "verify again after predictions that are asked as of now")
            }
            throw KeelError(
                .failedPrecondition, "none of the \(sampled.count) logged predictions was asked for as '\(service)' is declared now",
                hint: "verify again after new predictions")
        }
        let requests = try FeatureParity.requestTable(.array(try reads.map { try JSON.parse($0.request) }), service, features.catalog)
        let seal = try Grant.check(.system("verify", in: workspace), may: .datasetsIngest)
        var sources: [String: SourceRows] = [:]
        for dataset in try features.catalog.sources(service) {
            _ = try await data.seal(dataset: dataset, grant: seal)
            if let snapshot = try await data.snapshot(ResourceRef("Dataset", dataset, in: workspace)) {
                sources[dataset] = try await data.featureRows(snapshot, in: workspace)
            }
        }
        let rows = sources
        let report = try await Blocking.run { [analytics] in
            try features.verify(
                service: service, requests: requests, times: reads.map(\.eventTime), known: reads.map(\.known), values: reads.map(\.inputs),
                inputs: inputs, on: try analytics.connect()
            ) { dataset throws(KeelError) in rows[dataset] ?? SourceRows([String]()) }
        }
        return [
            "rows": .int(Int64(report.rows)), "skipped": .int(Int64(sampled.count - repeatable.count)),
            "inexact": .int(Int64(inexactCount)),
            "compared": .int(Int64(report.compared)), "undecided": .int(Int64(report.undecided)),
            "differences": .int(Int64(report.differences.count)),
            "examples": .array(
                report.differences.prefix(100).map {
                    [
                        "id": .string(reads[$0.row].id), "feature": .string($0.feature), "online": JSON($0.online),
                        "offline": JSON($0.offline),
                    ]
                }),
        ]
    }
}
