import Contracts

/// One parser, or several of the same bytes, and what must hold of whatever they are given.
struct FuzzTarget: Sendable {
    /// How the bytes are built, so that changes keep enough of it to lead deeper.
    enum Structure: Sendable {
        case bytes
        /// Lengths stand before what they measure; a change of the inside changes them too.
        case protobuf
    }

    let name: String
    /// How many inputs `make test` gives it. They are the same on every machine, so a change of the code is all that can make it fail.
    let inputs: Int
    /// What the format is made of: words that chance alone would not find.
    var words: [String] = []
    var structure = Structure.bytes
    /// Of one input.
    var bytesMax = 4096
    /// Writes the right checksums into an input, so that what is behind them is reached as well.
    var repair: (@Sendable ([UInt8]) -> [UInt8])?
    /// Gives the parser an input. It throws a `KeelError` when the parser refuses it, and a `FuzzFault` when something is wrong.
    /// - Returns: a word for what was accepted. Inputs that lead to a new word, or a new error, are built upon.
    let run: @Sendable ([UInt8]) throws -> String
}

/// What a parser did and must not do.
struct FuzzFault: Error {
    let message: String
    init(_ message: String) { self.message = message }
}

/// - Throws: `FuzzFault` when the condition does not hold.
func require(_ condition: Bool, _ message: @autoclosure () -> String) throws {
    if !condition { throw FuzzFault(message()) }
}
