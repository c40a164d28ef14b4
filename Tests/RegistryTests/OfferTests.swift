import Contracts
import Registry
import Storage
import Testing

private let served = Digest(of: "the refit with its metrics")
private let trained = Digest(of: "refit on all rows")

@Suite("Model versions offered to another workspace")
struct OfferTests {
    private let research = WorkspaceID.default
    private let production = WorkspaceID(stored: "production-team")

    private func may(_ action: Action, in workspace: WorkspaceID, _ persona: Persona = .mlEngineer, on subject: String = "*") throws -> Grant {
        try Grant.check(Caller(name: "of-\(workspace)", persona: persona, workspace: workspace), may: action, on: subject)
    }

    /// A version of `churn` that a gate passed, in the workspace that offers.
    private func version(_ f: Fixture) async throws -> ModelVersion {
        let runner = try may(.pipelinesRun, in: research)
        _ = try await f.registry.recordTraining(
            of: trained, candidate: trained, until: Timestamp("2013-03-01"), data: ["rows": 10], by: StepOrigin(run: "run-1", step: "train"), runner)
        let gate = try await f.registry.recordVerdict(
            on: trained, failures: [], ["checks": []], by: StepOrigin(run: "run-1", step: "gate"), runner)
        return try await f.registry.register(
            BundleRegistration(
                model: "churn", source: "mlflow-artifacts:/1/r/artifacts/model", runID: "r", bundle: served, trained: trained,
                gate: gate.id, alias: nil, origin: StepOrigin(run: "run-1", step: "register")),
            may(.registryWrite, in: research))
    }

    private func refused(_ code: KeelError.Code, _ body: () async throws -> Void) async {
        let error = await #expect(throws: KeelError.self) { try await body() }
        #expect(error?.code == code, "\(String(describing: error))")
    }

    @Test("what one side offers and the other accepts is a version there with all that Keel saw, but nobody's approval")
    func accepted() async throws {
        let f = try await Fixture()
        let version = try await version(f)
        _ = try await f.registry.approve(
            model: "churn", version: 1, reason: "looks good", Grant.check(Caller(name: "rita", persona: .riskOfficer, workspace: research), may: .modelsApprove))
        let offer = try await f.registry.offer(model: "churn", version: 1, to: production, note: "for you", may(.modelsShare, in: research))
        let share = try may(.modelsShare, in: production)
        let seen = try await f.registry.offered(offer.id, share)
        #expect(seen.version == version && seen.evidence?.gate?.hasPassed == true && seen.offer.note == "for you")
        #expect(try await f.registry.modelNames(may(.registryRead, in: production)).isEmpty)

        let taken = try await f.registry.accept(offer: offer.id, as: "churn-eu", share)
        #expect(taken.uri == "models:/churn-eu/1" && taken.runID == nil)
        let evidence = try #require(try await f.registry.evidence(of: taken, may(.registryRead, in: production)))
        #expect(evidence.bundle.subject == served && evidence.bundle.hasPassed && evidence.bundle.version == VersionKey("churn-eu", 1))
        #expect(evidence.gate?.hasPassed == true && evidence.training?.data["until"]?.string == Timestamp("2013-03-01")?.description)
        #expect(evidence.bundle.data["carried_workspace"]?.string == "default" && evidence.approvals.isEmpty)
        // Each side's ledger tells its own half.
        func kinds(_ workspace: WorkspaceID) async throws -> [String] {
            try await f.database.read(in: workspace) { try $0.ledgerEvents(kind: "model.version.").map(\.kind) }
        }
        #expect(try await kinds(research).suffix(2) == ["model.version.offered", "model.version.shared"])
        #expect(try await kinds(production).contains("model.version.accepted"))
        // It is taken once, and stays when the other side deletes its own.
        await refused(.failedPrecondition) { _ = try await f.registry.accept(offer: offer.id, share) }
        try await f.registry.deleteVersion(model: "churn", version: 1, may(.registryWrite, in: research))
        #expect(try await f.registry.evidence(of: taken, may(.registryRead, in: production))?.bundle.subject == served)
        #expect(try await f.registry.bundles(Grant.check(.local, may: .storageCollect)).contains(served))
    }

    @Test("neither side can do it alone, and nobody else learns that there is an offer")
    func consent() async throws {
        let f = try await Fixture()
        _ = try await version(f)
        let own = try may(.modelsShare, in: research)
        let offer = try await f.registry.offer(model: "churn", version: 1, to: production, own)
        await refused(.failedPrecondition) { _ = try await f.registry.accept(offer: offer.id, own) }
        do {
            let grant = try may(.modelsShare, in: WorkspaceID(stored: "others"), .owner)
            await refused(.notFound) { _ = try await f.registry.accept(offer: offer.id, grant) }
            await refused(.notFound) { _ = try await f.registry.offered(offer.id, grant) }
            await refused(.notFound) { _ = try await f.registry.close(offer: offer.id, grant) }
            #expect(try await f.registry.offers(grant).isEmpty)
        }
        await refused(.permissionDenied) {
            _ = try await f.registry.offer(model: "churn", version: 1, to: production, may(.modelsShare, in: research, .dataScientist))
        }
        // Whoever may accept may still not write every model.
        let scope = PermissionScope(names: [try NamePattern("other-*", path: "")])
        let half = Caller(
            name: "half", persona: .member, workspace: production,
            permissions: [Permission([.modelsShare], from: "RoleBinding/a"), Permission([.registryWrite], in: scope, from: "RoleBinding/b")])
        await refused(.permissionDenied) { _ = try await f.registry.accept(offer: offer.id, Grant.check(half, may: .modelsShare)) }
        _ = try await f.registry.accept(offer: offer.id, as: "other-churn", Grant.check(half, may: .modelsShare))
    }

    @Test("an offer ends: withdrawn, declined, or with its version")
    func ended() async throws {
        let f = try await Fixture()
        _ = try await version(f)
        let own = try may(.modelsShare, in: research)
        let theirs = try may(.modelsShare, in: production)
        for (closer, state) in [(own, ModelOffer.State.withdrawn), (theirs, .declined)] {
            let offer = try await f.registry.offer(model: "churn", version: 1, to: production, own)
            #expect(try await f.registry.offered(offer.id, theirs).version.version == 1)
            #expect(try await f.registry.close(offer: offer.id, closer).state == state)
            await refused(.failedPrecondition) { _ = try await f.registry.offered(offer.id, theirs) }
            await refused(.failedPrecondition) { _ = try await f.registry.accept(offer: offer.id, theirs) }
            await refused(.failedPrecondition) { _ = try await f.registry.close(offer: offer.id, own) }
        }
        let late = try await f.registry.offer(model: "churn", version: 1, to: production, own)
        try await f.registry.deleteVersion(model: "churn", version: 1, may(.registryWrite, in: research))
        await refused(.failedPrecondition) { _ = try await f.registry.accept(offer: late.id, theirs) }
        #expect(try await f.registry.modelNames(may(.registryRead, in: production)).isEmpty)
        await refused(.invalidArgument) { _ = try await f.registry.offer(model: "churn", version: 1, to: research, own) }
        await refused(.notFound) { _ = try await f.registry.offer(model: "churn", version: 1, to: production, own) }
        // A name without a workspace is answered like one with.
        _ = try await version(f)
        #expect(try await f.registry.offer(model: "churn", version: 2, to: WorkspaceID("nowhere"), own).state == .open)
    }
}
