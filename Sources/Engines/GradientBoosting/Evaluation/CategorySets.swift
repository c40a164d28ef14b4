/// Sets of categories in one array: a number of words, then the words; bit `c % 32` of word `c / 32` is category c.
enum CategorySets {
    /// - Parameter category: as `TreeColumn.Rule` prepares it: a whole number below 2^31, `inNoSet` or `inEverySet`.
    @inline(__always)
    static func contains<Scalar: TreeScalar>(_ sets: UnsafePointer<UInt32>, at start: Int, _ category: Scalar) -> Bool {
        let number = Int(category)
        if number < 0 { return number == TreeColumn.inEverySet }
        let word = number >> 5
        return word < Int(sets[start]) && sets[start + 1 + word] >> UInt32(number & 31) & 1 == 1
    }
}
