import Contracts

/// Reads a document of XGBoost's token by token: JSON or its binary form.
protocol ModelReader {
    /// Calls `body` with each key; it must consume the value.
    mutating func object(_ body: (inout Self, String) throws(KeelError) -> Void) throws(KeelError)
    /// Calls `body` for each element; it must consume it.
    mutating func array(_ body: (inout Self) throws(KeelError) -> Void) throws(KeelError)
    mutating func string() throws(KeelError) -> String
    /// A list of whole numbers (or of true and false) of 32 bits.
    mutating func integers() throws(KeelError) -> [Int32]
    /// A list of numbers; NaN and infinity are among them.
    mutating func floats() throws(KeelError) -> [Float]
    mutating func skip() throws(KeelError)
    mutating func expectEnd() throws(KeelError)
    /// An error at the current place.
    func failure(_ message: String) -> KeelError
}
