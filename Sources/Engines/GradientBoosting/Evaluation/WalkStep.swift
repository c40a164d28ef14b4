/// A step of the walk through a tree: from a node to one of its children, from a leaf to itself.
protocol WalkStep<Scalar> {
    associatedtype Scalar: TreeScalar
    init(nodes: UnsafePointer<Forest<Scalar>.Node>, sets: UnsafePointer<UInt32>)
    /// - Parameter row: as `RowPreparation` prepares it.
    func next(_ node: UInt32, _ row: UnsafePointer<Scalar>) -> UInt32
}

/// Of forests that compare with thresholds only.
struct PlainStep<Scalar: TreeScalar>: WalkStep {
    private let nodes: UnsafePointer<Forest<Scalar>.Node>

    init(nodes: UnsafePointer<Forest<Scalar>.Node>, sets: UnsafePointer<UInt32>) { self.nodes = nodes }

    @inline(__always)
    func next(_ node: UInt32, _ row: UnsafePointer<Scalar>) -> UInt32 {
        let node = nodes[Int(node)]
        return node.first &+ UInt32(row[Int(node.column)].passes(node.threshold))
    }
}

/// Of forests that ask for categories, too.
struct StepWithSets<Scalar: TreeScalar>: WalkStep {
    private let nodes: UnsafePointer<Forest<Scalar>.Node>
    private let sets: UnsafePointer<UInt32>

    init(nodes: UnsafePointer<Forest<Scalar>.Node>, sets: UnsafePointer<UInt32>) {
        self.nodes = nodes
        self.sets = sets
    }

    @inline(__always)
    func next(_ node: UInt32, _ row: UnsafePointer<Scalar>) -> UInt32 {
        let node = nodes[Int(node)]
        guard node.column & Forest<Scalar>.Node.isSet != 0 else {
            return node.first &+ UInt32(row[Int(node.column)].passes(node.threshold))
        }
        let category = row[Int(node.column & ~Forest<Scalar>.Node.isSet)]
        return node.first &+ (CategorySets.contains(sets, at: Int(node.threshold), category) ? 1 : 0)
    }
}

/// The nodes of walks that are made in step, so that their loads from memory overlap. Each in a variable of its own: of an array, the
/// processor would have to keep them in memory.
struct Lanes {
    static var count: Int { 8 }
    private var a, b, c, d, e, f, g, h: UInt32

    @inline(__always)
    init(_ root: (Int) -> UInt32) {
        a = root(0)
        b = root(1)
        c = root(2)
        d = root(3)
        e = root(4)
        f = root(5)
        g = root(6)
        h = root(7)
    }

    @inline(__always)
    mutating func step(_ next: (_ lane: Int, _ node: UInt32) -> UInt32) {
        a = next(0, a)
        b = next(1, b)
        c = next(2, c)
        d = next(3, d)
        e = next(4, e)
        f = next(5, f)
        g = next(6, g)
        h = next(7, h)
    }

    @inline(__always)
    func visit(_ body: (_ lane: Int, _ node: UInt32) -> Void) {
        body(0, a)
        body(1, b)
        body(2, c)
        body(3, d)
        body(4, e)
        body(5, f)
        body(6, g)
        body(7, h)
    }
}
