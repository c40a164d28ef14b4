import Dispatch
import Foundation
import Testing

/// Starts the Swift tests. SwiftPM would write this file itself from an index of every module, and the index is half of the work of building the tests;
/// none of them needs it, since none uses XCTest.
@main
struct Main {
    /// Not `async`: an optimised build gives the async main of every program a part of one and the same name, and the tests hold that of the command too.
    static func main() {
        let arguments = CommandLine.arguments
        guard zip(arguments, arguments.dropFirst()).contains(where: { $0 == ("--testing-library", "swift-testing") }) else {
            FileHandle.standardError.write(Data("no test uses XCTest: run `swift test --disable-xctest --enable-swift-testing`\n".utf8))
            exit(1)
        }
        Task { await Testing.__swiftPMEntryPoint() as Never }
        dispatchMain()
    }
}
