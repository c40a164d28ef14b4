import Contracts
import Foundation
import Testing
import Workflows

@Suite("Declarations are checked together")
struct DeclarationsTests {
    @Test("a kind has one name, and says of every other kind that it names that there is one")
    func kinds() async throws {
        #expect(Set(ResourceKinds.names).count == ResourceKinds.all.count)
        for resource in Shop.all {
            let spec = try ResourceKinds.kind(resource.kind).init(resource: resource)
            for reference in spec.references { #expect(ResourceKinds.names.contains(reference.kind)) }
        }
        let error = #expect(throws: KeelError.self) { try ResourceKinds.kind("Datset") }
        #expect(error?.hint == "did you mean 'Dataset'?")
    }

    @Test("what names what is known of every kind")
    func references() {
        let found = Declarations(readable: Shop.all).references.map { "\($0.from) \($0.target.field) \($0.to)" }
        #expect(
            found == [
                "Endpoint/clicking spec.features FeatureService/buying", "FeatureService/buying spec.features[0] FeatureView/habits",
                "FeatureView/habits spec.entity Entity/user", "FeatureView/habits spec.source Dataset/clicks",
                "Monitor/drift spec.endpoint Endpoint/clicking", "Trigger/retrain spec.run Pipeline/train",
                "Trigger/retrain spec.when[0] Monitor/drift",
            ])
    }

    @Test("a monitor refers to the endpoint of its own environment")
    func environments() async throws {
        let modules = try await Workshop().modules
        let endpoint = Resource(kind: "Endpoint", name: "e", environment: "staging", spec: [:])
        func monitor(_ environment: String?) -> Resource {
            Resource(
                kind: "Monitor", name: "m", environment: environment, spec: ["endpoint": "e", "window": "1d", "drift": ["threshold": 0.1]])
        }
        _ = try Declarations.check([endpoint, monitor("staging")], modules)
        let error = #expect(throws: KeelError.self) { try Declarations.check([endpoint, monitor(nil)], given: ["Monitor/m"], modules) }
        #expect(error?.path == "Monitor/m.spec.endpoint")
        #expect(error?.hint == "there is Endpoint/e@staging, which is in another environment")
        // One that was stored when names had no environments means what it meant, until there is one of its own.
        let old = try Declarations.check([endpoint, monitor(nil)], modules)
        #expect(old.references.map(\.to.subject) == ["Endpoint/e@staging"])
        let own = Resource(kind: "Endpoint", name: "e", spec: [:])
        #expect(try Declarations.check([endpoint, own, monitor(nil)], modules).references.map(\.to.subject) == ["Endpoint/e"])
        let wrong = Resource(kind: "Endpoint", name: "e", environment: "staging", spec: ["rollout": ["shadow": 3]])
        #expect(#expect(throws: KeelError.self) { try Declarations.check([wrong], modules) }?.path?.hasPrefix("Endpoint/e@staging.spec") == true)
    }

    @Test("what lives in no environment names none")
    func noEnvironment() async throws {
        let modules = try await Workshop().modules
        var entity = Shop.entity
        entity.environment = "staging"
        let error = #expect(throws: KeelError.self) { try Declarations.check([entity], given: ["Entity/user"], modules) }
        #expect(error?.path == "Entity/user.metadata.environment")
        // One that is stored so does not keep the others out of force.
        #expect(throws: Never.self) { try Declarations.check([entity], given: nil, modules) }
    }

    @Test("two cards of one model are refused, and so is a step of a kind that there is not")
    func acrossResources() async throws {
        let modules = try await Workshop().modules
        let cards = ["a", "b"].map { Resource(kind: "ModelCard", name: $0, spec: ["model": "m"]) }
        let error = #expect(throws: KeelError.self) { try Declarations.check(cards + [Shop.pipeline("nohting")], modules) }
        #expect(error?.all.map(\.path) == ["Pipeline/train.spec.steps[0].uses", "ModelCard/b.spec.model"])
    }

    @Test("all mistakes of all resources are found at once, each with its place")
    func allMistakes() async throws {
        let modules = try await Workshop().modules
        let wrong = [
            Resource(
                kind: "Dataset", name: "a",
                spec: ["columns": [["name": "x", "typ": "float64"], ["name": "y", "type": "float64", "keep": 3]], "eventTme": "t"]),
            Resource(kind: "Endpoint", name: "b", spec: ["features": "nothing", "limits": ["rows": 0]]),
            Resource(kind: "Trigger", name: "c", spec: ["when": ["sometimes"], "run": "p"]),
            Resource(kind: "Monitor", name: "d", spec: ["endpoint": "e", "window": "1d", "drift": ["threshold": 0.1]]),
        ]
        do {
            _ = try Declarations.check(wrong, modules)
            Issue.record("nothing was refused")
        } catch {
            let places = error.all.compactMap(\.path)
            #expect(
                Set(places) == [
                    "Dataset/a.spec.columns[0].type", "Dataset/a.spec.columns[1].keep", "Dataset/a.spec.eventTme",
                    "Endpoint/b.spec.limits.rows",
                    "Trigger/c.spec.when[0]", "Monitor/d.spec.endpoint",
                ])
            #expect(places.count == Set(places).count)
        }
    }

    @Test("every wrong column, feature, step and condition of a resource is named")
    func everyElement() async throws {
        let modules = try await Workshop().modules
        let columns: JSON = [["name": "id", "type": "int64"], ["name": "at", "type": "timestamp"], ["name": "price", "type": "float64"]]
        let features: JSON = [
            ["name": "a", "aggregate": "sum", "of": "prize", "window": "1h"], ["name": "b", "of": "price"], ["name": "b", "of": "price"],
            ["name": "c", "aggregate": "mean", "of": "price + 'x'", "window": "1h"],
        ]
        func places(_ resources: [Resource]) -> Set<String> {
            do {
                _ = try Declarations.check(resources, modules)
                return []
            } catch { return Set(error.all.compactMap(\.path)) }
        }
        let view = [
            Resource(kind: "Dataset", name: "d", spec: ["key": ["id"], "eventTime": "at", "columns": columns]),
            Resource(kind: "Entity", name: "e", spec: ["keys": ["id": "int64"]]),
            Resource(kind: "FeatureView", name: "v", spec: ["source": "d", "entity": "e", "features": features]),
        ]
        #expect(
            places(view) == [
                "FeatureView/v.spec.features[0].of", "FeatureView/v.spec.features[2].name", "FeatureView/v.spec.features[3].of",
            ])
        let wrong: JSON = [
            ["name": "x", "type": "bool", "range": [0, 1]], ["name": "y", "type": "int64", "pattern": "a"], ["name": "z", "type": "int64"],
        ]
        #expect(
            places([Resource(kind: "Dataset", name: "d", spec: ["columns": wrong])])
                == ["Dataset/d.spec.columns[0].range", "Dataset/d.spec.columns[1].pattern"])
        let rollout: JSON = ["rollbackWhen": ["errors >", "errors > 5%", "erors > 5%"]]
        #expect(
            places([Resource(kind: "Endpoint", name: "p", spec: ["rollout": rollout])])
                == ["Endpoint/p.spec.rollout.rollbackWhen[0]", "Endpoint/p.spec.rollout.rollbackWhen[2]"])
        let steps: JSON = [["name": "a.b", "uses": "nothing"], ["name": "c", "uses": "nothing", "retries": 99]]
        #expect(
            places([Resource(kind: "Pipeline", name: "p", spec: ["steps": steps])])
                == ["Pipeline/p.spec.steps[0].name", "Pipeline/p.spec.steps[1].retries"])
    }
}
