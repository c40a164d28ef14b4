/// One axis: of numbers when all values are, of words otherwise.
package struct ParallelAxis {
    package typealias Value = ParallelPlot.Value

    private enum Kind {
        case numbers(Scale, distinct: [Double])
        case words([String: Double])
    }

    private let kind: Kind
    /// The name of the place for what is no number, below the axis; nil when all are numbers.
    private let odd: String?
    private static let oddShare = -0.06

    package init(_ values: [Value]) {
        let numbers = values.compactMap { if case .number(let v) = $0 { v } else { nil } }
        let texts = values.compactMap { if case .text(let v) = $0 { v } else { nil } }
        if texts.isEmpty {
            let known = numbers.filter(Scale.isPlace)
            // Rates and sizes are tried by their order of magnitude.
            let isLogarithmic = (known.min() ?? 0) > 0 && (known.max() ?? 0) >= 100 * (known.min() ?? 0)
            kind = .numbers(Scale(known, count: 6, isLogarithmic: isLogarithmic), distinct: Set(known).sorted())
            odd =
                known.count == numbers.count
                ? nil : Set(numbers.filter { !Scale.isPlace($0) }.map { Scale.short($0) }).sorted().joined(separator: ", ")
        } else {
            // Numbers among words stand before them, in their own order.
            let words = Set(numbers).sorted().map { Scale.short($0) } + Set(texts).sorted()
            let places = words.enumerated().map { ($1, words.count == 1 ? 0.5 : Double($0) / Double(words.count - 1)) }
            kind = .words(Dictionary(places, uniquingKeysWith: { first, _ in first }))
            odd = nil
        }
    }

    package var isNumeric: Bool { if case .numbers = kind { true } else { false } }

    /// The height of a value: 0 at the foot of the axis, 1 at its top, below the foot for what is no number; nil when there is no value.
    package func share(_ value: Value) -> Double? {
        switch (kind, value) {
        case (_, .none): nil
        case (.numbers(let scale, _), .number(let v)): Scale.isPlace(v) ? scale.share(v) : ParallelAxis.oddShare
        case (.numbers, .text): nil
        case (.words(let places), .number(let v)): places[Scale.short(v)]
        case (.words(let places), .text(let v)): places[v]
        }
    }

    /// How high among the others, for the colour; nil when it cannot be said.
    package func merit(_ value: Value) -> Double? { share(value).flatMap { $0 < 0 ? nil : $0 } }

    package var marks: [(share: Double, text: String)] {
        var marks: [(share: Double, text: String)]
        switch kind {
        case .numbers(let scale, let distinct):
            marks = scale.ticks.map { (scale.share($0), scale.label($0)) }
            // A few values that were chosen by hand are marked themselves.
            let chosen = distinct.map { (share: scale.share($0), text: Scale.short($0)) }
            if (1...8).contains(chosen.count), zip(chosen, chosen.dropFirst()).allSatisfy({ $1.share - $0.share > 0.035 }) {
                marks = chosen
            }
        case .words(let places):
            // Of very many words only some can be written.
            let sorted = places.sorted { $0.value < $1.value }
            marks = sorted.enumerated().filter { $0.offset % (sorted.count / 20 + 1) == 0 }.map {
                ($0.element.value, shortened($0.element.key, to: 16))
            }
        }
        return marks + (odd.map { [(ParallelAxis.oddShare, $0)] } ?? [])
    }
}
