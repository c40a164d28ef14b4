import Contracts

/// The bins of a release's columns, laid out for counting: one flat list of edges, one of counts.
struct BinLayout: Sendable {
    let reference: MonitorReference
    /// Every column's edges, one after another; the score's last.
    let edges: [Float]
    /// Where each column's edges begin, and the end.
    let edgeStarts: [Int]
    /// Where each column's counts begin, and the end: `edges + 2` counts a column.
    let countStarts: [Int]
    let features: Int

    init(_ reference: MonitorReference) {
        self.reference = reference
        features = reference.inputs.count
        var (edges, edgeStarts, countStarts): ([Float], [Int], [Int]) = ([], [0], [0])
        for column in reference.inputs + [reference.score].compactMap(\.self) {
            edges += column.edges
            edgeStarts.append(edges.count)
            countStarts.append((countStarts.last ?? 0) + column.edges.count + 2)
        }
        (self.edges, self.edgeStarts, self.countStarts) = (edges, edgeStarts, countStarts)
    }

    var columns: Int { edgeStarts.count - 1 }
}

/// Counts values into bins. Integers only: the order of arrival cannot change the result.
struct BinCounter {
    let layout: BinLayout
    private(set) var counts: [Int]

    init(_ layout: BinLayout) {
        self.layout = layout
        counts = [Int](repeating: 0, count: layout.countStarts.last ?? 0)
    }

    /// Counts one prediction. The number of features must be the layout's.
    mutating func add(_ features: [Float], score: Float) {
        let (all, scored) = (layout.features, layout.columns > layout.features)
        layout.edges.withUnsafeBufferPointer { edges in
            layout.edgeStarts.withUnsafeBufferPointer { edgeStarts in
                layout.countStarts.withUnsafeBufferPointer { countStarts in
                    features.withUnsafeBufferPointer { values in
                        counts.withUnsafeMutableBufferPointer { counts in
                            for i in 0..<all {
                                counts[countStarts[i] + BinCounter.bin(values[i], edges, edgeStarts[i], edgeStarts[i + 1])] += 1
                            }
                            if scored { counts[countStarts[all] + BinCounter.bin(score, edges, edgeStarts[all], edgeStarts[all + 1])] += 1 }
                        }
                    }
                }
            }
        }
    }

    /// The first bin whose edge is not below the value; missing values, and infinities with them, go behind the last bin.
    @inline(__always)
    private static func bin(_ value: Float, _ edges: UnsafeBufferPointer<Float>, _ start: Int, _ end: Int) -> Int {
        if !value.isFinite { return end - start + 1 }
        var (low, high) = (start, end)
        while low < high {
            let middle = (low + high) >> 1
            if edges[middle] < value { low = middle + 1 } else { high = middle }
        }
        return low - start
    }

    /// Lets go of the counts; nothing can be added afterwards.
    mutating func clear() { counts = [] }

    func counts(ofColumn i: Int) -> [Int] { Array(counts[layout.countStarts[i]..<layout.countStarts[i + 1]]) }
}
