import Contracts
import Storage

/// What a page of an experiment's runs showed, kept under a name for everybody who may read the experiment.
///
/// It is a tag of the experiment that Keel alone writes (`keel.layout.NAME`): no client can set or remove it as a tag, so who saved it is who it says, and
/// its changes are in the ledger.
public struct ExperimentLayout: Sendable, Hashable {
    static let prefix = ReservedTags.prefix + "layout."
    public static let layoutsMax = 50
    public static let nameCharactersMax = 100
    public static let queryBytesMax = 4000

    public let name: String
    /// The page that it is of: a word of the caller's.
    public let page: String
    /// The parameters of the page's address.
    public let query: String
    /// The name of who saved it.
    public let savedBy: String

    init?(_ tag: KeyValue) {
        guard tag.key.hasPrefix(ExperimentLayout.prefix), let json = try? JSON.parse(tag.value), let page = json["page"]?.string,
            let query = json["query"]?.string, let savedBy = json["by"]?.string
        else { return nil }
        self.init(name: String(tag.key.dropFirst(ExperimentLayout.prefix.count)), page: page, query: query, savedBy: savedBy)
    }

    init(name: String, page: String, query: String, savedBy: String) {
        self.name = name
        self.page = page
        self.query = query
        self.savedBy = savedBy
    }

    var tag: KeyValue {
        let value: JSON = ["page": .string(page), "by": .string(savedBy), "query": .string(query)]
        return KeyValue(ExperimentLayout.prefix + name, value.text)
    }

    /// Whether the caller of a grant may replace or remove it: who saved it, and who manages the access of all.
    public func mayBeChanged(by caller: Caller) -> Bool { caller.name == savedBy || caller.may(.accessManage, on: nil) }
}

extension Experiment {
    /// Its layouts by name.
    public var layouts: [ExperimentLayout] { tags.compactMap { ExperimentLayout($0) }.sorted { byteOrder($0.name, $1.name) < 0 } }
}

extension TrackingService {
    /// Saves a layout of an experiment in the caller's name. One of the same name is replaced when it is the caller's own.
    /// - Parameter page: the page that the address is of.
    /// - Throws: `alreadyExists` when somebody else saved one of this name, `failedPrecondition` when there are `layoutsMax` already, `invalidArgument` for an
    ///   experiment in the bin and for a name or an address that is too long.
    public func saveLayout(_ name: String, page: String, query: String, of id: String, _ grant: Grant) async throws {
        try grant.require(.trackingWrite)
        guard !name.isEmpty, name.unicodeScalars.count <= ExperimentLayout.nameCharactersMax else {
            throw KeelError.invalid("must have 1 to \(ExperimentLayout.nameCharactersMax) characters", path: "name")
        }
        guard query.utf8.count <= ExperimentLayout.queryBytesMax else {
            throw KeelError.invalid("the address is too long to be saved", hint: "choose fewer runs or columns", path: "query")
        }
        let layout = ExperimentLayout(name: name, page: page, query: query, savedBy: grant.caller.name)
        try EntityName.check(layout.tag.key)
        try await database.write(in: grant.workspace) { tx in
            let experiment = try ExperimentStore.find(tx, id: id)
            try requireActive(experiment)
            let layouts = experiment.layouts
            if let other = layouts.first(where: { $0.name == name }) {
                guard other.savedBy == layout.savedBy else {
                    throw KeelError(.alreadyExists, "\(other.savedBy) saved a layout '\(name)'", hint: "choose another name", path: "name")
                }
            } else if layouts.count >= ExperimentLayout.layoutsMax {
                throw KeelError(
                    .failedPrecondition, "the experiment has \(ExperimentLayout.layoutsMax) layouts, which is the most", hint: "remove one")
            }
            try ExperimentStore.set(tx, layout.tag, on: id)
            try tx.record(
                "experiment.tagged", on: "Experiment/\(id)", ["key": .string(layout.tag.key), "value": .string(layout.tag.value)], by: grant
            )
        }
    }

    /// Removes a layout.
    /// - Throws: `notFound` when there is none of this name, `failedPrecondition` for whoever did not save it and does not manage access either.
    public func removeLayout(_ name: String, of id: String, _ grant: Grant) async throws {
        try grant.require(.trackingWrite)
        try await database.write(in: grant.workspace) { tx in
            let experiment = try ExperimentStore.find(tx, id: id)
            try requireActive(experiment)
            guard let layout = experiment.layouts.first(where: { $0.name == name }) else {
                throw KeelError.notFound("there is no layout '\(name.prefix(100))'")
            }
            guard layout.mayBeChanged(by: grant.caller) else {
                throw KeelError(
                    .failedPrecondition, "the layout '\(name)' was saved by \(layout.savedBy)",
                    hint: "who saved a layout removes it, or who manages access")
            }
            _ = try ExperimentStore.removeTag(tx, key: layout.tag.key, from: id)
            try tx.record("experiment.untagged", on: "Experiment/\(id)", ["key": .string(layout.tag.key)], by: grant)
        }
    }
}
