import Contracts
import Foundation
import Testing

private func escaped(_ text: String) -> String { text.addingPercentEncoding(withAllowedCharacters: .alphanumerics) ?? "" }

@Suite("Experiments and runs over the API")
struct TrackingRoutesTests {
    @Test("a run is made, logged to and read back, with instants in ISO 8601 and a NaN as null")
    func run() async throws {
        let api = try await TrackingAPI()
        let experiment = try await api.ask(.post, "/experiments", ["name": "delays", "tags": ["team": "ops"]])
        #expect(experiment.status == 201)
        let id = try #require(experiment.body["id"]?.string)
        let made = try await api.ask(
            .post, "/tracking/runs", ["experiment": .string(id), "name": "first", "started_at": "2013-04-01T10:00:00Z"])
        #expect(made.status == 201 && made.body["started_at"] == "2013-04-01T10:00:00Z" && made.body["user"] == "ada")
        let run = try #require(made.body["id"]?.string)
        let logged = try await api.ask(
            .post, "/tracking/runs/\(run)/log",
            [
                "params": ["trees": "150"],
                "metrics": [["key": "auc", "value": 0.75, "step": 3, "at": "2013-04-01T11:00:00Z"]],
            ])
        #expect(logged.status == 200)
        let read = try await api.ask(.get, "/tracking/runs/\(run)")
        #expect(read.body["params"] == ["trees": "150"] && read.body["status"] == "RUNNING")
        #expect(read.body["metrics"] == ["auc": ["value": 0.75, "step": 3, "at": "2013-04-01T11:00:00Z"]])
        #expect(try await api.ask(.get, "/experiments/\(id)").body["tags"] == ["team": "ops"])
    }

    @Test("runs are found by a filter, page by page, and a token is good only for its own question")
    func search() async throws {
        let api = try await TrackingAPI()
        for i in 0..<5 {
            let run = try await api.ask(.post, "/tracking/runs", ["experiment": "0", "name": .string("run \(i)")]).body
            let id = try #require(run["id"]?.string)
            _ = try await api.ask(.post, "/tracking/runs/\(id)/log", ["metrics": [["key": "auc", "value": .double(Double(i) / 10)]]])
        }
        let question = "/tracking/runs?experiment=0&filter=\(escaped("metrics.auc >= 0.1"))&order=\(escaped("metrics.auc DESC"))&limit=3"
        let first = try await api.ask(.get, question)
        #expect(first.body["runs"]?.array?.map { $0["name"]?.string } == ["run 4", "run 3", "run 2"])
        let token = try #require(first.body["next"]?.string)
        let second = try await api.ask(.get, question + "&page=" + token)
        #expect(second.body["runs"]?.array?.map { $0["name"]?.string } == ["run 1"] && second.body["next"] == .null)
        // The same question with other spaces is the same question; another one is not.
        let respaced = question.replacing(escaped(" >= "), with: escaped("  >=  "))
        #expect(try await api.ask(.get, respaced + "&page=" + token).status == 200)
        let other = question.replacing(escaped("0.1"), with: escaped("0.2"))
        let refused = try await api.ask(.get, other + "&page=" + token)
        #expect(refused.status == 400 && refused.body["error"]?["message"] == "Invalid page token")
    }

    @Test(
        "what is wrong is said with its code and place, and nothing is changed",
        arguments: [
            ("/tracking/runs", 400, "invalid_argument", "experiment"),
            ("/tracking/runs?experiment=0&filter=colour%3D1", 400, "invalid_argument", nil),
            ("/tracking/runs?experiment=0&state=gone", 400, "invalid_argument", "state"),
            ("/tracking/runs?experiment=0&limit=0", 400, "invalid_argument", "limit"), ("/tracking/runs/nothing", 404, "not_found", nil),
            ("/experiments/77", 404, "not_found", nil),
        ] as [(String, Int, String, String?)])
    func mistakes(path: String, status: Int, code: String, place: String?) async throws {
        let answer = try await TrackingAPI().ask(.get, path)
        #expect(answer.status == status, "\(answer)")
        #expect(answer.body["error"]?["code"]?.string == code && answer.body["error"]?["path"]?.string == place, "\(answer)")
    }

    @Test("an unknown field is an error that names the nearest known one, and no run is made")
    func unknownField() async throws {
        let api = try await TrackingAPI()
        let answer = try await api.ask(.post, "/tracking/runs", ["experiment": "0", "nme": "x"])
        #expect(answer.status == 400 && answer.body["error"]?["hint"]?.string?.contains("'name'") == true, "\(answer)")
        let tags = try await api.ask(.post, "/tracking/runs", ["experiment": "0", "tags": ["a": 1]])
        #expect(tags.status == 400 && tags.body["error"]?["message"]?.string?.contains("'tags.a' must be a text") == true, "\(tags)")
        #expect(try await api.ask(.get, "/tracking/runs?experiment=0").body["runs"] == [])
    }
}
