import Contracts
import Engines
import Foundation
import Testing

@Suite struct EngineLocatorTests {
    @Test func theEnvironmentComesFirstAndAlone() {
        let locator = EngineLocator(environment: ["KEEL_DUCKDB_LIB": "/opt/mine.so"], workingDirectory: "/tmp", executable: "/usr/bin/keel")
        #expect(locator.candidates(for: .duckdb) == ["/opt/mine.so"])
        #expect(locator.candidates(for: .xgboost).first == "libxgboost.so")
    }

    @Test func theProjectIsFoundFromAFolderInsideIt() throws {
        let project = FileManager.default.temporaryDirectory.appendingPathComponent("keel-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: project) }
        let library = project.appendingPathComponent(".keel/native/duckdb/libduckdb.so").path
        try FileManager.default.createDirectory(atPath: project.path + "/.keel/native/duckdb", withIntermediateDirectories: true)
        try Data().write(to: URL(fileURLWithPath: library))
        let inside = EngineLocator(
            environment: [:], workingDirectory: project.path + "/Sources/Engines", executable: "/usr/bin/keel", usesSystemPath: false)
        #expect(inside.candidates(for: .duckdb) == [library])
        let beside = EngineLocator(
            environment: [:], workingDirectory: "/", executable: project.path + "/.build/debug/keel", usesSystemPath: false)
        #expect(beside.candidates(for: .duckdb) == [library])
        let damaged = #expect(throws: KeelError.self) { try inside.version(of: .duckdb) }
        #expect(damaged?.code == .engineMissing)
        #expect(damaged?.message.contains(library) == true)
    }

    @Test func anInstallationLoadsTheEnginesThatItBrought() throws {
        let root = FileManager.default.temporaryDirectory.appendingPathComponent("keel-\(UUID().uuidString)").path
        defer { try? FileManager.default.removeItem(atPath: root) }
        // A project's engines in the working directory, and an installation elsewhere.
        for folder in ["/project/.keel/native/duckdb", "/usr/lib/keel/native/duckdb"] {
            try FileManager.default.createDirectory(atPath: root + folder, withIntermediateDirectories: true)
            try Data().write(to: URL(fileURLWithPath: root + folder + "/libduckdb.so"))
        }
        let installed = EngineLocator(environment: [:], workingDirectory: root + "/project", executable: root + "/usr/lib/keel/bin/keel")
        #expect(installed.candidates(for: .duckdb) == [root + "/usr/lib/keel/native/duckdb/libduckdb.so"])
        // What it did not bring is looked for like everywhere.
        #expect(installed.candidates(for: .xgboost) == ["libxgboost.so"])
        #expect(Installation(executable: root + "/usr/lib/keel/bin/keel")?.path("share/none") == nil)
        #expect(Installation(executable: root + "/project/.build/release/keel") == nil)
    }

    @Test(arguments: Engine.allCases) func aMissingEngineNamesTheInstallStep(engine: Engine) throws {
        let nowhere = EngineLocator(environment: [:], workingDirectory: "/", executable: "/usr/bin/keel", usesSystemPath: false)
        let missing = #expect(throws: KeelError.self) { try nowhere.version(of: engine) }
        #expect(missing?.code == .engineMissing)
        #expect(missing?.hint?.contains("scripts/bootstrap") == true)
        // An installation names what it can do itself, also when all of its engines are gone.
        let root = FileManager.default.temporaryDirectory.appendingPathComponent("keel-\(UUID().uuidString)").path
        defer { try? FileManager.default.removeItem(atPath: root) }
        for (folder, words) in [("/venv/lib/python3.11/site-packages/keel", "pip install --force-reinstall"), ("/opt/keel", "unpack keel-")] {
            try FileManager.default.createDirectory(atPath: root + folder + "/share", withIntermediateDirectories: true)
            try Data().write(to: URL(fileURLWithPath: root + folder + "/share/keel.cdx.json"))
            let installed = EngineLocator(environment: [:], workingDirectory: "/", executable: root + folder + "/bin/keel", usesSystemPath: false)
            let lacking = #expect(throws: KeelError.self) { try installed.version(of: engine) }
            #expect(lacking?.hint?.contains(words) == true && lacking?.hint?.contains("scripts/bootstrap") == false)
        }
        let wrong = EngineLocator(
            environment: [engine.environmentVariable: "/nonexistent.so"], workingDirectory: "/", executable: "/usr/bin/keel")
        #expect(throws: KeelError.self) { try wrong.version(of: engine) }
    }

    @Test func theDoctorReportsEveryEngine() {
        let reports = EngineReport.all()
        #expect(reports.map(\.name) == ["DuckDB", "ONNX Runtime", "XGBoost"])
        for report in reports {
            #expect((report.version == nil) == (report.path == nil))
            #expect((report.version == nil) == (report.mend != nil))
        }
    }
}
