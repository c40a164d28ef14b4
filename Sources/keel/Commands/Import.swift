import ArgumentParser
import Contracts
import Foundation
import MLflowImport
import Synchronization

struct Import: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Bring what another system holds.", subcommands: [MLflow.self])

    struct MLflow: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "mlflow", abstract: "Bring experiments, runs, models, the registry and artifacts of an MLflow server.",
            discussion: """
                Reads MLflow's database (2.x and 3.x), which is never written to and may be in use, and sends it to the Keel server.
                Runs, logged models and versions keep their ids; experiments keep their numbers where Keel has none of that number, and one that has
                the name of an experiment of Keel's becomes one with it. An import that was cut off goes on where it was when it is started
                again; one that is repeated brings what is new or changed. At the end both sides are compared: exit code 1 when they differ.
                A password of PostgreSQL comes from PGPASSWORD or ~/.pgpass.
                Examples:
                  keel import mlflow --backend sqlite:///mlflow.db --artifacts mlruns --dry-run
                  keel import mlflow --backend postgresql://mlflow@db.internal/mlflow --artifacts /srv/mlartifacts
                """)
        @Option(help: "MLflow's database, as its server is told: sqlite:///FILE or postgresql://USER@HOST/NAME.") var backend: String
        @Option(help: "The folder of the artifacts: what mlflow-artifacts:/ stands for, or the folder that local paths lie in.")
        var artifacts: String?
        @Flag(name: .long, help: "Say what would be brought, and bring nothing.") var dryRun = false
        @OptionGroup var connection: Connection

        func run() async throws {
            let source = try await MLflowSource.open(url: backend)
            let bars = ImportBars()
            let importer = try Importer(source: source, artifacts: artifacts, client: try connection.client()) { bars.update($0) }
            let report = try await importer.run(isRehearsal: dryRun)
            bars.finish()
            connection.show(report.json) { _ in show(report) }
            if !report.isComplete { throw ExitCode(1) }
        }

        private func show(_ report: ImportReport) {
            Terminal.print("\(report.source), schema \(report.schema)")
            func text(_ count: Int) -> String { count == 0 ? "-" : Terminal.count(Int64(count)) }
            Terminal.table(
                ["kind", "source", dryRun ? "would bring" : "brought", "changed", "there already", "kept as in Keel", "conflicts"],
                ImportReport.kinds.compactMap { kind in
                    report.counts[kind].map {
                        [kind, text($0.source), text($0.new), text($0.changed), text($0.same), text($0.changedHere), text($0.conflict)]
                    }
                })
            list("Not as in MLflow", report.notes)
            list("Not brought", report.notBrought)
            list("DIFFERENT", report.mismatches)
            if report.isVerified, report.mismatches.count == 0 { Terminal.print("Verified: the digests of both sides are equal.") }
            if dryRun { Terminal.print("Nothing was changed.") }
        }

        private func list(_ title: String, _ lines: ImportReport.Lines) {
            guard lines.count > 0 else { return }
            Terminal.print("\(title):")
            for line in lines.first.prefix(50) { Terminal.print("  \(line)") }
            guard lines.count > 50 else { return }
            Terminal.print(
                "  and \(Terminal.count(Int64(lines.count - 50))) more\(lines.count > lines.first.count ? "" : " (--json lists them)")")
        }
    }
}

/// One line of progress after the other, with counts and rates.
private final class ImportBars: Sendable {
    private struct State {
        var line: ProgressLine?
        var title = ""
        var began = Timestamp.systemNow()
        var told = Timestamp.systemNow()
        var text = ""
    }
    private let state = Mutex(State())

    func update(_ progress: ImportProgress) {
        state.withLock { state in
            let title = (progress.isVerifying ? "compare " : "import ") + progress.kind
            if title != state.title {
                state.line?.finish(state.text)
                // What is told first took the time since what was told before it.
                state = State(line: ProgressLine(title), title: title, began: state.told, told: state.told)
            }
            state.told = .systemNow()
            let seconds = max((state.told - state.began).seconds, 0.001)
            let rate = Terminal.count(Int64(saturating: Double(progress.done) / seconds))
            state.text = Terminal.count(progress.done) + (progress.total.map { " of \(Terminal.count($0))" } ?? "") + ", \(rate)/s"
            state.line?.update(progress.total.map { Double(progress.done) / Double(max($0, 1)) } ?? 0, state.text)
        }
    }

    func finish() { state.withLock { $0.line?.finish($0.text) } }
}
