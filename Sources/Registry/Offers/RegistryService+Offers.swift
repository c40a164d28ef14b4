import Contracts
import Storage

/// Promotion between workspaces: one side offers a version, the other accepts it. Neither can do both, unless somebody has a role in each.
extension RegistryService {
    /// Lets another workspace have a version. Its side reads the version and its evidence from now on, and nothing else.
    /// - Parameter target: whether there is such a workspace the answer does not say.
    /// - Throws: `notFound` for a version that is not there; `invalidArgument` for one's own workspace, a prompt, or a note that is too long.
    public func offer(model name: String, version number: Int, to target: WorkspaceID, note: String = "", _ grant: Grant) async throws -> ModelOffer {
        try grant.require(.modelsShare, on: RegistryService.thing(name, grant))
        guard target != grant.workspace else {
            throw KeelError.invalid("the version is in the workspace '\(target)' already", path: "workspace")
        }
        guard note.utf8.count <= ModelOffer.noteBytesMax else {
            throw KeelError.invalid("is longer than \(ModelOffer.noteBytesMax) bytes", path: "note")
        }
        return try await database.write(in: grant.workspace) { tx in
            let version = try RegistryStore.version(tx, name, number)
            guard try !RegistryStore.isPrompt(tx, name) else { throw KeelError.invalid("\(version.uri) is a prompt: only models are offered") }
            guard try OfferStore.count(tx, since: tx.now - ModelOffer.life) < ModelOffer.countMax else {
                throw KeelError(.unavailable, "this workspace has made \(ModelOffer.countMax) offers in \(ModelOffer.life)", hint: "offer again later")
            }
            let offer = ModelOffer(
                id: Identifier.ordered32(at: tx.now), source: grant.workspace, version: VersionKey(name, number), target: target, note: note,
                offeredBy: grant.caller.name, offeredAt: tx.now, expiresAt: tx.now + ModelOffer.life, state: .open, accepted: nil,
                decidedBy: nil, decidedAt: nil)
            try OfferStore.insert(tx, offer)
            try ModelEvent(
                "model.version.offered", name, version: number, [("offer", .string(offer.id)), ("to", .string(target.name))]
            ).record(tx, grant)
            return offer
        }
    }

    /// The offers that the workspace made, and those made to it, the newest first.
    public func offers(_ grant: Grant) async throws -> [ModelOffer] {
        try grant.require(.modelsShare)
        let now = database.clock.now()
        return try await database.read(in: grant.workspace) { try OfferStore.all($0, now: now) }
    }

    /// An open offer with what it offers, for both sides.
    /// - Throws: `notFound` for an offer between others; `failedPrecondition` for one that has ended, or whose version is not there any more.
    public func offered(_ id: String, _ grant: Grant) async throws -> OfferedVersion {
        try grant.require(.modelsShare)
        let now = database.clock.now()
        let source = try await database.read(in: grant.workspace) { try OfferStore.find($0, id, now: now) }.source
        return try await database.read(in: source) { db in
            // The offer is the source's consent to this one read, for as long as it stands.
            let offer = try OfferStore.find(db, id, now: now)
            guard offer.state == .open else { throw OfferStore.hasEnded(offer) }
            guard let version = try RegistryStore.findVersion(db, offer.version.name, offer.version.version) else { throw RegistryService.isGone(offer) }
            return OfferedVersion(offer: offer, version: version, evidence: try RegistryService.evidence(db, of: offer.version))
        }
    }

    private static func isGone(_ offer: ModelOffer) -> KeelError {
        KeelError(.failedPrecondition, "\(offer.version.uri) is not in the workspace '\(offer.source)' any more", hint: "ask for a new offer")
    }

    /// Takes an offered version over as the next version of a model here, with its files and with what Keel saw of it. Who approved it there has not
    /// approved it here.
    ///
    /// Files are not copied byte by byte: both versions refer to the same content, and each keeps it alive.
    /// - Parameter name: the model here; the offered one's name unless given. It is made when there is none.
    /// - Throws: `notFound` for an offer to others; `failedPrecondition` for one that has ended or whose version is gone.
    public func accept(offer id: String, as name: String? = nil, _ grant: Grant) async throws -> ModelVersion {
        try grant.require(.modelsShare)
        let now = database.clock.now()
        let offer = try await database.read(in: grant.workspace) { try OfferStore.find($0, id, now: now) }
        guard offer.target == grant.workspace else {
            throw KeelError(.failedPrecondition, "the offer '\(id)' is to the workspace '\(offer.target)'", hint: "it is accepted there")
        }
        let name = name ?? offer.version.name
        try RegistryRules.check(modelName: name)
        _ = try Grant.check(grant.caller, may: .registryWrite, on: RegistryService.thing(name, grant).subject)
        let offered = try await offered(id, grant)
        return try await database.write(in: grant.workspace) { [self] tx in
            // It may have been withdrawn, and the version deleted, since it was read.
            let offer = try OfferStore.find(tx, id, now: tx.now)
            let still = "SELECT 1 FROM registry_versions WHERE workspace = ? AND name = ? AND version = ?"
            guard try tx.row(still, [.string(offer.source.name), .string(offer.version.name), .int(Int64(offer.version.version))]) != nil else {
                throw RegistryService.isGone(offer)
            }
            try ensureModel(tx, name, grant)
            guard try !RegistryStore.isPrompt(tx, name) else { throw KeelError.invalid("'\(name)' is a prompt here", path: "model") }
            let version = offered.version
            let location = try files?.copy(tx, from: version.storageLocation, of: offer.source, offer: id) ?? version.storageLocation
            let origin = ModelSource(source: location, location: location, runID: nil, modelID: nil)
            let made = try insertVersion(
                tx, name, origin, tags: version.tags, description: version.description, facts: version.facts, grant)
            if let evidence = offered.evidence {
                try EvidenceStore.carry(tx, evidence, from: offer, to: VersionKey(name, made.version), grant)
            }
            let accepted = VersionKey(name, made.version)
            try OfferStore.end(tx, offer, .accepted, accepted: accepted, grant)
            let facts: [(String, JSON)] = [("offer", .string(id)), ("from", .string(offer.source.name)), ("source", .string(offer.version.uri))]
            try ModelEvent("model.version.accepted", name, version: made.version, facts).record(tx, grant)
            // The other side's history says as well that it was taken.
            try tx.record(
                "model.version.shared", on: "Model/\(offer.version.name)",
                ["version": .int(Int64(offer.version.version)), "offer": .string(id), "to": .string(offer.target.name)],
                by: .system("registry", in: offer.source))
            return try RegistryStore.version(tx, name, made.version)
        }
    }

    /// Ends an open offer: the side that made it withdraws it, the other declines it.
    /// - Throws: `notFound` for an offer between others; `failedPrecondition` for one that has ended.
    public func close(offer id: String, _ grant: Grant) async throws -> ModelOffer {
        try grant.require(.modelsShare)
        return try await database.write(in: grant.workspace) { tx in
            let offer = try OfferStore.find(tx, id, now: tx.now)
            let state: ModelOffer.State = offer.source == grant.workspace ? .withdrawn : .declined
            try OfferStore.end(tx, offer, state, grant)
            let data: JSON = ["offer": .string(id), "version": .int(Int64(offer.version.version)), "by": .string(grant.workspace.name)]
            try tx.record(
                "model.offer.\(state.rawValue)", on: "Model/\(offer.version.name)", data, by: .system("registry", in: offer.source))
            try tx.record("offer.\(state.rawValue)", on: "Offer/\(id)", by: grant)
            return try OfferStore.find(tx, id, now: tx.now)
        }
    }
}
