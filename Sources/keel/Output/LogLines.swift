import Contracts
import Foundation

/// Standard error for the server's log: one event, one line. Names and messages of others are part of events, so their line feeds and control
/// characters are written as escapes.
package struct LogLines: TextOutputStream {
    /// - Parameter event: the text of one event, with the line feed that ends it.
    package mutating func write(_ event: String) { try? FileHandle.standardError.write(contentsOf: Data(LogLines.line(event).utf8)) }

    package static func line(_ event: String) -> String { (event.hasSuffix("\n") ? event.dropLast() : event[...]).visible() + "\n" }
}
