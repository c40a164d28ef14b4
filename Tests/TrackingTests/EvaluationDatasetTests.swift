import Contracts
import Storage
import Testing
import Tracking

@Suite("Evaluation datasets")
struct EvaluationDatasetTests {
    private func content(_ json: JSON) throws -> EvaluationRecordContent { try EvaluationRecordContent(json: json, path: "records[0]") }

    @Test("the same inputs in another order change the record that is there")
    func sameInputs() async throws {
        let f = try await Fixture()
        let dataset = try await f.tracking.createEvaluationDataset(name: "d", experimentIDs: ["0"], f.write)
        _ = try await f.tracking.upsertEvaluationRecords(
            datasetID: dataset.id, [content(["inputs": ["a": 1, "b": 2], "expectations": ["x": 1]])], f.write)
        let counts = try await f.tracking.upsertEvaluationRecords(
            datasetID: dataset.id, [content(["inputs": ["b": 2, "a": 1], "expectations": ["y": 2]]), content(["inputs": ["c": 3]])], f.write
        )
        #expect(counts.inserted == 1 && counts.updated == 1)
        let records = try await f.tracking.evaluationRecords(datasetID: dataset.id, f.read).items
        #expect(Set(records.map(\.content.expectations)) == [["x": 1, "y": 2], nil])
        let found = try await f.tracking.evaluationDataset(id: dataset.id, f.read)
        #expect(found.recordCount == 2)
        #expect(found.schema?["inputs"] == ["a": "integer", "b": "integer", "c": "integer"])
    }

    @Test("outputs replace, null takes them away, tags and expectations are added by key")
    func merging() throws {
        let old = try content(["inputs": [:], "outputs": "first", "tags": ["a": "1"]])
        #expect(old.merging(try content(["inputs": [:]])).outputs == "first")
        #expect(old.merging(try content(["inputs": [:], "outputs": .null])).outputs == Optional<JSON>.none)
        #expect(old.merging(try content(["inputs": [:], "tags": ["a": "2", "b": "3"]])).tags == ["a": "2", "b": "3"])
    }

    @Test("an experiment that does not exist leaves no dataset behind")
    func wholeOrNothing() async throws {
        let f = try await Fixture()
        await #expect(throws: KeelError.notFound("No Experiment with id=77")) {
            try await f.tracking.createEvaluationDataset(name: "d", experimentIDs: ["0", "77"], f.write)
        }
        #expect(try await f.tracking.searchEvaluationDatasets(EvaluationDatasetSearch(), f.read).items.isEmpty)
    }
}
