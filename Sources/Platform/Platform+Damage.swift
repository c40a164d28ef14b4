import Contracts
import Foundation
import Governance
import Storage
import Workflows

/// Starting, which damaged data never prevents, and what is done with the damage that is found.
extension Platform {
    /// Brings back what was configured. Each part that fails is reported, and the others go on.
    func start() async {
        await attempt("Storage/artifacts") { [self] in try await adoptArtifacts() }
        await attempt("Registry/evidence") { [self] in try await takeOverEvidence() }
        await attempt("Storage/lake") { [self] in
            try await data.start()
            try await data.finishRemovals()
        }
        await attempt("Storage/environments") { [self] in try await placeOldNames() }
        await attempt("Storage/predictions") { [self] in try await recoverPredictions() }
        await attempt("Storage/predictions") { [self] in try await exporter.start() }
        await attempt("Ledger/checkpoints") { [self] in
            guard let problem = try await checkpoints.problem(lastOnly: true)?.problem else { return }
            throw KeelError(.corrupted, problem, hint: "keel ledger verify; if keel.sqlite is older than its home, restore the newer one")
        }
        await attempt("Home/secrets.key") { [self] in
            let grant = try Grant.check(.system("damage"), may: .registryRead)
            for (id, error) in try await webhooks.unreadableSecrets(grant) { damage.report("Webhook/\(id)", error) }
        }
        await attempt("Resources/all") { [self] in try await applying.configure(.default, isStart: true) }
        await attempt("Resources/workspaces") { [self] in
            for workspace in try await workspaces.all() where workspace.id != .default {
                await attempt("Workspace/\(workspace.id)") { try await applying.configure(workspace.id, isStart: true) }
            }
        }
        await attempt("Features/all") { [self] in try await featureCheckpoints.prune() }
        for damage in damage.all { logger.error("damaged: \(damage.fullSubject): \(damage.what)") }
    }

    private func attempt(_ subject: String, _ body: () async throws -> Void) async {
        do { try await body() } catch { damage.report(subject, KeelError.wrapping(error)) }
    }

    /// Records each finding in the ledger, once: a finding that an earlier start recorded gets no second event.
    func recordDamage() async {
        for await finding in damage.findings {
            do {
                try await database.write(in: finding.workspace) { tx in
                    let told = try tx.ledgerEvents(of: "damage.found", on: finding.subject, after: 0, before: .max, limit: 1000)
                    guard !told.contains(where: { $0.data["what"]?.string == finding.what }) else { return }
                    try tx.record(
                        "damage.found", on: finding.subject,
                        ["what": .string(finding.what), "hint": finding.hint.map(JSON.string) ?? .null],
                        by: .system("damage", in: finding.workspace))
                }
            } catch { logger.error("could not record damage to \(finding.subject): \(KeelError.wrapping(error))") }
        }
    }

    // MARK: The home folder

    /// Removes what a killed server had received in part, and what its queries needed. The lock on the home makes sure that no running server uses it.
    static func removeLeftovers(below work: String, _ damage: DamageRegister) {
        do {
            for name in try Folder.names(work) where ["upload-", "backup-", "query-"].contains(where: name.hasPrefix) {
                try FileManager.default.removeItem(atPath: work + "/" + name)
            }
        } catch { damage.report("Home/work", KeelError.wrapping(error)) }
    }

    /// The folders that every home has, outer ones first.
    static let folders = [
        "lake", "lake/datasets", "lake/training", "lake/predictions", "streams", "work", "predictions", "checkpoints", "features", "backups",
        "objects", "objects/tmp", "objects/content", "objects/uploads", "python",
    ]

    /// Reports data without the database that knows it. The server makes a new database beside it, and touches nothing of it.
    static func reportMissingDatabase(_ home: String, _ damage: DamageRegister) {
        guard !FileManager.default.fileExists(atPath: home + "/keel.sqlite") else { return }
        let holding = ["lake/datasets", "lake/predictions", "streams", "objects/content"].filter {
            !((try? FileManager.default.contentsOfDirectory(atPath: "\(home)/\($0)")) ?? []).isEmpty
        }
        guard !holding.isEmpty else { return }
        damage.report(
            Collecting.databaseSubject,
            KeelError(
                .corrupted,
                "keel.sqlite was missing, but there is data in \(holding.joined(separator: ", ")): a new database was made, and the data kept",
                hint: "stop the server, put keel.sqlite back from a backup, and start it again"))
    }
}
