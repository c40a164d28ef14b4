import Contracts
import Storage

/// One change of a model as the ledger keeps it, on `Model/{name}`: what was before and what is after.
struct ModelEvent {
    let kind: String
    let name: String
    private var data: JSON

    init(
        _ kind: String, _ name: String, version: Int? = nil, _ fields: [(String, JSON)] = [], before: JSON? = nil, after: JSON? = nil
    ) {
        self.kind = kind
        self.name = name
        var members: [JSON.Member] = []
        if let version { members.append(.init("version", .int(Int64(version)))) }
        members += fields.map { .init($0.0, $0.1) }
        if let before { members.append(.init("before", before)) }
        if let after { members.append(.init("after", after)) }
        data = .object(members)
    }

    static func created(model name: String, description: String, tags: [ModelTag]) -> ModelEvent {
        ModelEvent("model.created", name, [("description", .string(description)), ("tags", json(tags))])
    }

    /// - Parameter prompt: whether its own tags say that it is a prompt's version.
    static func created(version: ModelVersion, prompt: Bool) -> ModelEvent {
        var event = ModelEvent(
            "model.version.created", version.name, version: version.version,
            [
                ("source", .string(version.source)), ("run", version.runID.map(JSON.string) ?? .null),
                ("model", version.modelID.map(JSON.string) ?? .null), ("description", .string(version.description)),
                ("tags", json(version.tags)),
            ])
        event.data["prompt"] = .bool(prompt)
        return event
    }

    /// Appends it to the ledger. A follower of the ledger must not have to ask what the model was then, so the event says whether it is a prompt.
    func record(_ tx: Transaction, _ grant: Grant) throws {
        var data = data
        if data["prompt"] == nil { data["prompt"] = .bool(try RegistryStore.isPrompt(tx, name)) }
        try tx.record(kind, on: "Model/\(name)", data, by: grant)
    }

    private static func json(_ tags: [ModelTag]) -> JSON {
        // As MLflow: of two tags with one key the last counts.
        var members: [JSON.Member] = []
        for tag in tags {
            members.removeAll { $0.key == tag.key }
            members.append(.init(tag.key, .string(tag.value)))
        }
        return .object(members)
    }
}
