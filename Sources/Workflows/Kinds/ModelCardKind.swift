import Contracts
import Registry

/// Cards are read when a model's card is asked for, so there is nothing to put in force.
extension ModelCardSpec: ResourceKind {
    package static func mistakes(_ scrutiny: Scrutiny) -> [KeelError] {
        let cards = scrutiny.declared.all(ModelCardSpec.self)
        return cards.enumerated().compactMap { i, card in
            guard let other = cards[..<i].first(where: { $0.model == card.model }) else { return nil }
            return .invalid(
                "the model '\(card.model)' has a card already", hint: "it is \(kind)/\(other.name)",
                path: "\(kind)/\(card.name).spec.model")
        }
    }
}
