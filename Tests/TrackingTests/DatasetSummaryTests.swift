import Contracts
import SearchLanguage
import Storage
import Testing
import Tracking

@Suite("Summaries of datasets, and logged models by their times")
struct DatasetSummaryTests {
    @Test("a dataset is there once for each context, that without one first")
    func summaries() async throws {
        let f = try await Fixture()
        for context in ["training", nil, "evaluation", "training"] as [String?] {
            let run = try await f.tracking.createRun(experimentID: "0", f.write)
            let tags = context.map { [KeyValue("mlflow.data.context", $0)] } ?? []
            try await f.tracking.logInputs(
                runID: run.id, datasets: [DatasetInput(name: "d", digest: "1", sourceType: "x", source: "y", tags: tags)], f.write)
        }
        let found = try await f.tracking.datasetSummaries(experimentIDs: ["0"], f.read)
        #expect(found.map(\.context) == [nil, "evaluation", "training"] && found.allSatisfy { $0.name == "d" && $0.digest == "1" })
    }

    @Test("logged models are found by a time with a fraction")
    func times() async throws {
        let f = try await Fixture()
        let model = try await f.tracking.createLoggedModel(experimentID: "0", name: "m", f.write)
        let made = model.createdAt.milliseconds
        func found(_ filter: String) async throws -> [String] {
            try await f.tracking.searchLoggedModels(LoggedModelSearch(experimentIDs: ["0"], filter: filter, orderBy: []), f.read).items.map(\.id)
        }
        #expect(try await found("creation_timestamp > \(made - 1).5") == [model.id])
        #expect(try await found("creation_timestamp > \(made).5") == [])
        #expect(try await found("last_updated_timestamp <= \(made)") == [model.id])
    }
}
