import Contracts
import Datasets
import FeatureStore

// Entities, views and services are one catalogue over the datasets' contracts: it is checked and put in force as a whole, by the last of them.

extension EntitySpec: ResourceKind {
}

extension FeatureViewSpec: ResourceKind {
    package var references: [ResourceReference.Target] {
        // The catalogue itself says when one of them is missing.
        guard case .dataset(let dataset, let entity) = source else { return [] }
        return [
            ResourceReference.Target("spec.source", DatasetSpec.schema.name, dataset),
            ResourceReference.Target("spec.entity", EntitySpec.schema.name, entity),
        ]
    }

    package static func effects(of resource: Resource, in declared: Declarations, _ modules: Modules) async throws -> [String] {
        try declared.remadeViews(modules) { view, _ in view == resource.name }
    }
}

extension FeatureServiceSpec: ResourceKind {
    package var references: [ResourceReference.Target] {
        features.enumerated().map { i, feature in
            ResourceReference.Target("spec.features[\(i)]", FeatureViewSpec.schema.name, String(feature.prefix { $0 != "." }))
        }
    }

    package static func mistakes(_ scrutiny: Scrutiny) -> [KeelError] {
        guard scrutiny.declared.isWhole(Declarations.featureKinds) else { return [] }
        do throws(KeelError) { _ = try scrutiny.declared.catalog() } catch { return [error] }
        return []
    }

    /// Gives the views that are new or changed their state beside those in force.
    ///
    /// At the start, and where a dataset's features were broken before, a history that cannot be read leaves the dataset's own views without state,
    /// and nothing else.
    package static func prepare(_ preparation: inout Preparation) async throws {
        let modules = preparation.modules
        let features = modules.features[preparation.workspace]
        let draft = features.draft(try preparation.declared.catalog())
        let datasets = preparation.part(PreparedDatasets.self)?.draft
        for dataset in draft.datasets {
            do {
                let source = ResourceRef(DatasetSpec.schema.name, dataset, in: preparation.workspace)
                try await modules.history.fill(draft, source, in: datasets, isStart: preparation.isStart) {
                    features.follow(draft, dataset: dataset)
                }
            } catch {
                guard preparation.isStart || features.isBroken(dataset) else {
                    features.discard(draft)
                    throw error
                }
                let problem = KeelError.wrapping(error)
                preparation.fail("\(DatasetSpec.schema.name)/\(dataset)", problem)
                draft.fail(dataset: dataset, problem)
            }
        }
        preparation.add(PreparedFeatures(features: features, draft: draft))
    }
}

/// Online features that are ready.
struct PreparedFeatures: Prepared {
    let features: FeatureStore
    let draft: FeatureDraft

    func activate() { features.adopt(draft) }
    func discard() { features.discard(draft) }
}

extension Declarations {
    static let featureKinds: [any ResourceKind.Type] = [DatasetSpec.self, EntitySpec.self, FeatureViewSpec.self, FeatureServiceSpec.self]

    /// - Throws: one error that holds all that is wrong with the features.
    func catalog() throws(KeelError) -> FeatureCatalog {
        try FeatureCatalog(
            entities: all(EntitySpec.self), views: all(FeatureViewSpec.self), services: all(FeatureServiceSpec.self),
            datasets: Dictionary(all(DatasetSpec.self).map { ($0.name, $0.schema) }, uniquingKeysWith: { $1 }))
    }

    /// A sentence for each view whose online features these declarations make anew.
    /// - Parameter isAffected: of which views to speak, by the view's name and its dataset's.
    func remadeViews(_ modules: Modules, _ isAffected: (_ view: String, _ dataset: String?) -> Bool) throws -> [String] {
        let catalog = try catalog()
        let views = modules.features[workspace].draft(catalog).viewNames.filter { isAffected($0, catalog.source(ofView: $0)) }
        return views.map { "the online features of view '\($0)' are made anew; until then the old ones answer" }
    }
}
