import Contracts
import Serving
import Testing

@Suite struct EndpointSpecTests {
    private func spec(_ json: String) throws -> EndpointSpec {
        try EndpointSpec(resource: Resource(kind: "Endpoint", name: "delay", environment: "production", spec: try JSON.parse(json)))
    }

    @Test func aWholeEndpointReadsAsDocumented() throws {
        let spec = try spec(
            """
            {"features": "delay", "rollout": {"shadow": {"requests": 500}, "canary": {"shares": ["5%", 0.25, "100%"], "every": {"requests": 700}},
             "rollbackWhen": ["errors > 1%", "latency.p99 > 50ms", "score.psi > 0.5", "logloss > incumbent.logloss * 1.05"],
             "minimum": {"requests": 50, "labels": 60}}, "log": {"sample": "50%", "whenFull": "drop"},
             "label": {"within": "90d"}, "limits": {"rows": 10, "queue": 2}}
            """)
        #expect(spec.features == "delay")
        #expect(spec.rollout.shadowRequests == 500)
        #expect(spec.rollout.shares == [0.05, 0.25, 1])
        #expect(spec.rollout.stepRequests == 700)
        #expect(spec.rollout.rollbackWhen.map(\.text).count == 4)
        #expect(spec.rollout.minimumRequests == 50 && spec.rollout.minimumLabels == 60)
        #expect(spec.log == LogPolicy(sample: 0.5, whenFull: .drop))
        #expect(spec.label == LabelPolicy(within: .days(90)))
        #expect(spec.limits.rows == 10 && spec.limits.queue == 2)
    }

    @Test func anEmptyEndpointHasSensibleDefaults() throws {
        let spec = try spec("{}")
        #expect(spec.log == LogPolicy(sample: 1, whenFull: .block))
        #expect(spec.label == nil)
        #expect(spec.rollout.shares.isEmpty && spec.rollout.shadowRequests == 0)
    }

    @Test(arguments: [
        (#"{"rolout": {}}"#, "spec.rolout"),
        (#"{"rollout": {"canary": {"shares": ["5%", "3%"]}}}"#, "spec.rollout.canary.shares[1]"),
        (#"{"rollout": {"canary": {"shares": ["120%"]}}}"#, "spec.rollout.canary.shares[0]"),
        (#"{"rollout": {"rollbackWhen": ["errrors > 1%"]}}"#, "spec.rollout.rollbackWhen[0]"),
        (#"{"rollout": {"rollbackWhen": ["errors + 1"]}}"#, "spec.rollout.rollbackWhen[0]"),
        (#"{"log": {"whenFull": "explode"}}"#, "spec.log.whenFull"),
        (#"{"label": {}}"#, "spec.label.within"),
        (#"{"label": {"within": "soon"}}"#, "spec.label.within"),
        (#"{"log": {"sample": "200%"}}"#, "spec.log.sample"),
        (#"{"limits": {"rows": 0}}"#, "spec.limits.rows"),
    ])
    func aMistakeIsNamedWithItsPlace(_ json: String, _ path: String) throws {
        let error = try #require(throws: KeelError.self) { try spec(json) }
        #expect(error.path?.hasPrefix(path) == true, "\(error)")
    }
}
