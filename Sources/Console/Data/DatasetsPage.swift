import Contracts
import Datasets
import FeatureStore
import Statistics
import Storage

extension ConsoleSection {
    static let datasets = ConsoleSection(title: "Data", path: "/console/datasets", action: .datasetsRead)
}

enum DataViews {
    static func path(dataset name: String) -> String { "/console/datasets/\(pathComponent(name))" }
    static func path(view name: String) -> String { "/console/features/\(pathComponent(name))" }
    static func path(service name: String) -> String { "/console/feature-services/\(pathComponent(name))" }

    /// A snapshot of a list or of a page.
    static func row(_ snapshot: Snapshot) -> View {
        [
            "number": snapshot.number, "path": "\(path(dataset: snapshot.dataset))?snapshot=\(snapshot.number)", "rows": Shown.count(snapshot.rowCount),
            "quarantined": Shown.count(snapshot.quarantinedCount), "isQuarantined": snapshot.quarantinedCount > 0, "created": Shown.time(snapshot.createdAt),
            "from": Shown.time(snapshot.eventTimes?.lowerBound), "until": Shown.time(snapshot.eventTimes?.upperBound), "digest": String(snapshot.digest.hex.prefix(12)),
            "bytes": Shown.bytes(Int64(snapshot.files.reduce(0) { $0 + $1.bytes })),
        ]
    }
}

/// The datasets of a workspace.
func datasetsPage(_ asked: PageRequest) async throws -> Page {
    let names = try await asked.platform.resources.names(of: "Dataset", by: asked.grant)
    var datasets: [View] = []
    for ref in names.prefix(500) {
        let newest = try await asked.platform.data.snapshot(ref)
        datasets.append([
            "name": Shown.text(ref.name, path: DataViews.path(dataset: ref.name)), "newest": newest.map(DataViews.row) ?? false,
            "columns": (try? asked.platform.data.spec(ref).schema.fields.count) ?? 0, "isDisabled": asked.platform.data.isDisabled(ref),
        ])
    }
    return Page(
        "Data", in: .datasets, template: "datasets",
        ["datasets": datasets, "hasDatasets": !datasets.isEmpty, "maySeeFeatures": asked.grant(.featuresRead) != nil])
}

/// One dataset: its contract, its snapshots, the profile of one of them, and what was set aside.
struct DatasetPage {
    private static let quarantineMax = 25
    private static let chartsMax = 60

    let asked: PageRequest
    let ref: ResourceRef
    let snapshot: Snapshot?

    private init(_ asked: PageRequest) async throws {
        self.asked = asked
        ref = try asked.thing("Dataset")
        let number = asked.query["snapshot"]
        guard number == nil || number.flatMap(Int.init) != nil else { throw KeelError.invalid("a snapshot is named by its number", path: "snapshot") }
        snapshot = try await asked.platform.data.snapshot(ref, number.flatMap(Int.init))
    }

    static func page(_ asked: PageRequest) async throws -> Page { try await DatasetPage(asked).page() }

    private func page() async throws -> Page {
        let spec = try asked.platform.data.spec(ref)
        let before = asked.query["before"].flatMap(Int.init)
        let snapshots = try await asked.platform.data.snapshots(ref.name, before: before, limit: 20, grant: asked.grant)
        let path = DataViews.path(dataset: ref.name)
        let number = snapshot.map { "?snapshot=\($0.number)" } ?? ""
        return Page(
            ref.name, in: .datasets, below: [Page.Link("Data", "/console/datasets")], template: "dataset",
            [
                "name": Shown.text(ref.name), "path": path, "lineage": "/console/lineage?of=\(pathComponent(ref.subject))", "isDisabled": asked.platform.data.isDisabled(ref),
                "key": spec.key.joined(separator: ", "), "hasKey": !spec.key.isEmpty, "eventTime": spec.eventTime ?? false, "onViolation": spec.onViolation.rawValue,
                "expectations": spec.expectations.map { ["text": DatasetPage.text($0), "onBreach": $0.onBreach.rawValue] as View }, "hasExpectations": !spec.expectations.isEmpty,
                "columns": spec.columns.filter(\.keep).map { column in
                    let profile = snapshot?.profile?[column.field.name]
                    return [
                        "name": Shown.text(column.field.name), "type": "\(column.field.type)", "isNullable": column.field.nullable, "rules": DatasetPage.rules(column),
                        "isPersonal": column.field.personal, "nulls": profile.map { "\(($0.nullShare * 100).decimals(1)) %" } ?? "–",
                        "distinct": profile.map { Shown.count($0.distinct.estimate) } ?? "–", "least": DatasetPage.value(profile?.minimum, column),
                        "middle": DatasetPage.value(profile?.quantile(0.5), column), "greatest": DatasetPage.value(profile?.maximum, column),
                    ] as View
                },
                "snapshots": snapshots.map { one in
                    var row = DataViews.row(one)
                    row["isShown"] = one.number == snapshot?.number
                    return row
                },
                "hasSnapshots": !snapshots.isEmpty, "first": before == nil ? false : asked.query.with(["before": nil]),
                "next": next(snapshots),
                "shown": snapshot.map(DataViews.row) ?? false,
                "figures": (snapshot?.profile?.columns ?? []).prefix(DatasetPage.chartsMax).map { column in
                    ["name": Shown.text(column.name), "source": "\(path)/profile.json\(number.isEmpty ? "?" : number + "&")column=\(pathComponent(column.name))"] as View
                },
                "hasProfile": snapshot?.profile != nil, "quarantine": try await quarantine(), "hasQuarantine": (snapshot?.quarantinedCount ?? 0) > 0,
                "moreQuarantine": moreQuarantine,
            ])
    }

    private func next(_ snapshots: [Snapshot]) -> Any {
        guard snapshots.count == 20, let last = snapshots.last else { return false }
        return asked.query.with(["before": "\(last.number)"])
    }

    private var passed: Int { max(0, asked.query["after"].flatMap(Int.init) ?? 0) }

    private var moreQuarantine: Any {
        guard let snapshot, snapshot.quarantinedCount > passed + DatasetPage.quarantineMax else { return false }
        return asked.query.with(["after": "\(passed + DatasetPage.quarantineMax)"]) + "#quarantine"
    }

    private func quarantine() async throws -> [View] {
        guard let snapshot, snapshot.quarantinedCount > 0 else { return [] }
        let rows = try await asked.platform.data.quarantine(
            dataset: ref.name, snapshot: snapshot.number, after: passed, limit: DatasetPage.quarantineMax, grant: asked.grant)
        return rows.map { ["source": Shown.text($0.source), "line": $0.line, "reason": Shown.text($0.reason), "raw": Shown.text($0.raw)] }
    }

    /// A value of a profile: instants are counted in microseconds there.
    private static func value(_ value: Double?, _ column: DatasetSpec.Column) -> String {
        guard let value else { return "–" }
        guard column.field.type == .timestamp else { return Shown.number(value) }
        return String(Timestamp(microseconds: Int64(saturating: value)).description.prefix(16)).replacing("T", with: " ")
    }

    private static func rules(_ column: DatasetSpec.Column) -> [View] {
        var rules: [String] = []
        let field = column.field
        if field.minimum != nil || field.maximum != nil {
            rules.append("\(field.minimum.map(Shown.number) ?? "…") to \(field.maximum.map(Shown.number) ?? "…")")
        }
        if let values = field.oneOf { rules.append("one of \(values.prefix(6).joined(separator: ", "))\(values.count > 6 ? ", …" : "")") }
        if let pattern = field.pattern { rules.append("matches \(pattern)") }
        if let unit = field.unit { rules.append(unit) }
        if let from = column.from { rules.append("= \(from)") }
        return rules.map { Shown.text($0) }
    }

    private static func text(_ expectation: DatasetSpec.Expectation) -> String {
        switch expectation.rule {
        case .rows(let minimum, let maximum): "\(minimum.map { Shown.count($0) } ?? "any number of") to \(maximum.map { Shown.count($0) } ?? "any number of") rows"
        case .nulls(let column, let condition): "\(column): \(condition)"
        }
    }

    /// The bins of a column: of a number between its deciles, each as dense as it is; of a text its most frequent values.
    static func profile(_ asked: PageRequest) async throws -> JSON {
        let page = try await DatasetPage(asked)
        let name = asked.query["column"] ?? ""
        guard let column = page.snapshot?.profile?[name] else { throw KeelError.notFound("the snapshot has no profile of '\(name.prefix(140))'") }
        guard !column.isText else {
            let top = column.top.values.prefix(20)
            return ["x": .array(top.map { .string(Shown.cut($0.value.text ?? "")) }), "series": [["name": "rows", "data": .array(top.map { .int(Int64($0.count)) })]]]
        }
        return histogram(column)
    }

    /// Bins of equal width between the least and the greatest value, counted from the profile's quantiles.
    private static func histogram(_ column: ColumnProfile) -> JSON {
        let bins = 24
        guard let least = column.minimum, let greatest = column.maximum, greatest > least else {
            let one = column.minimum.map { [JSON.string(Shown.number($0))] } ?? []
            return ["x": .array(one), "series": [["name": "rows", "data": .array(one.map { _ in .int(Int64(column.values)) })]]]
        }
        let width = (greatest - least) / Double(bins)
        let edges = (1..<bins).map { least + Double($0) * width }
        let below = column.quantiles.ranks(of: edges).map { $0.isNaN ? 0 : $0 } + [1]
        let shares = zip(below, [0] + below).map { max(0, $0 - $1) }
        let isTime = column.type == .timestamp
        let labels = (0..<bins).map { bin in
            let start = least + Double(bin) * width
            return isTime ? String(Timestamp(microseconds: Int64(saturating: start)).description.prefix(10)) : Shown.number(start)
        }
        return [
            "x": .array(labels.map(JSON.string)), "series": [["name": "rows", "data": .array(shares.map { .double(($0 * Double(column.values)).rounded()) })]],
        ]
    }
}
