import Contracts
import Testing
import Workflows

@Suite("Monitors that can never alert")
struct BlindMonitorTests {
    @Test("a plan says of a monitor, new or changed, that it never alerts of what serves, and why")
    func named() async throws {
        let shop = try await Workshop()
        try await shop.apply(Shop.all)
        func monitor(_ name: String, _ spec: JSON) -> Resource { Resource(kind: "Monitor", name: name, spec: spec) }
        let drift = monitor("drift", ["endpoint": "clicking", "window": "1d", "drift": ["threshold": 0.3]])
        let quality: JSON = ["label": ["within": "1d"], "metric": "auc", "alertWhen": "auc < reference.auc - 0.1"]
        let known = monitor("known", ["endpoint": "clicking", "window": "1d", "performance": quality])
        let worse: JSON = ["label": ["within": "1d"], "metric": "auc", "alertWhen": "logloss > reference.logloss"]
        let unknown = monitor("unknown", ["endpoint": "clicking", "window": "1d", "performance": worse])
        // Nothing serves: nobody knows what will.
        #expect(try await shop.plan([drift, known, unknown]).allSatisfy(\.effects.isEmpty))
        // The release has the metric auc, and no profile of its training rows.
        try await shop.release(input: "spent", service: "buying")
        let effects = try await shop.plan([drift, known, unknown]).map(\.effects)
        #expect(
            effects == [
                [
                    "Monitor/drift can never alert of drift: release clicking/1 (models:/clicks/1) has nothing that its drift is measured from; "
                        + "a training by a pipeline makes it"
                ],
                [],
                [
                    "Monitor/unknown can never alert of 'logloss > reference.logloss': release clicking/1 (models:/clicks/1) has no reference.logloss; "
                        + "an evaluation in a pipeline makes it"
                ],
            ])
    }
}
