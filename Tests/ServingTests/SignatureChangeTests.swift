import Contracts
import Serving
import Testing

/// A model that takes or gives something else than the one before it is not put before callers who do not know of it.
@Suite struct SignatureChangeTests {
    @Test func whatCallersWouldNoticeIsRefusedUnlessSomebodySaysSo() async throws {
        let home = try await Home()
        try await home.service.configure([.delay()])
        try await home.release(0.2, 0.8)
        let other = try await home.bundle(0.3, 0.7, input: "y")
        func create(_ signature: EndpointSpec.SignatureRule?) async throws -> Release {
            try await home.service.createRelease(
                endpoint: .delay, model: "delay", version: "2", bundle: other, gate: .passed, signature: signature, Home.deployer)
        }
        let error = try await #require(throws: KeelError.self) { _ = try await create(nil) }
        #expect(
            error.message
                == "callers of 'delay' would notice that delay/2 answers in place of release delay/1: "
                + "input 'y' is new, and no request may leave it out; input 'x' is gone, and requests that have it are refused")
        #expect(error.hint?.contains("signature: any") == true && error.path == "Endpoint/delay.spec.signature")
        #expect(try await home.service.releases(endpoint: .delay, Home.deployer).count == 1)
        // A word of one request is of that request alone.
        let release = try await create(.any)
        await #expect(throws: KeelError.self) { try await home.service.deploy(endpoint: .delay, release: release.number, Home.deployer) }
        #expect(try await home.runtime.infer(endpoint: .delay, request: Home.request([0])).release == 1)
        try await home.service.deploy(endpoint: .delay, release: release.number, signature: .any, Home.deployer)
        _ = try await home.service.promote(endpoint: .delay, Home.deployer)
        #expect(try await home.runtime.infer(endpoint: .delay, request: Home.request([0], column: "y")).release == 2)
        // Going back is no release.
        #expect(try await home.service.rollback(endpoint: .delay, reason: "to see", Home.deployer).number == 1)
        // The endpoint's word is of every request, and that of a request goes before it.
        try await home.service.configure([EndpointSpec(.delay, signature: .any)])
        await #expect(throws: KeelError.self) { try await home.service.deploy(endpoint: .delay, release: 2, signature: .compatible, Home.deployer) }
        try await home.service.deploy(endpoint: .delay, release: 2, Home.deployer)
        await home.stop()
    }

    /// The incumbent takes `x: float64` and gives `score: float32`.
    private static let cases: [(next: Signature, noticed: [String])] = [
        (Signature(inputs: [.init("x", .float64)], outputs: [.init("score", .float32)]), []),
        (Signature(inputs: [.init("x", .float64), .init("y", .string, isOptional: true)], outputs: [.init("score", .float32)]), []),
        (Signature(inputs: [.init("x", .float64, isOptional: true)], outputs: [.init("score", .float32), .init("class", .string)]), []),
        (
            Signature(inputs: [.init("x", .float64), .init("y", .string)], outputs: [.init("score", .float32)]),
            ["input 'y' is new, and no request may leave it out"]
        ),
        (Signature(inputs: [.init("x", .float32)], outputs: [.init("score", .float32)]), ["input 'x' is float32, and was float64"]),
        (Signature(inputs: [.init("x", .string)], outputs: [.init("score", .float32)]), ["input 'x' is string, and was float64"]),
        (
            Signature(inputs: [.init("x", .float64, nullable: false)], outputs: [.init("score", .float32)]),
            ["input 'x' must have a value in every row"]
        ),
        (Signature(inputs: [.init("x", .float64)], outputs: [.init("score", .float64)]), ["output 'score' is float64, and was float32"]),
        (Signature(inputs: [.init("x", .float64)], outputs: [.init("class", .string)]), ["output 'score' is gone"]),
        // What it gives is not known before it was tried.
        (Signature(inputs: [.init("x", .float64)], outputs: []), []),
    ]

    @Test(arguments: cases.indices) func eachChangeIsNamed(_ i: Int) async throws {
        let home = try await Home()
        try await home.service.configure([.delay()])
        try await home.release(0.2, 0.8)
        let (next, noticed) = SignatureChangeTests.cases[i]
        #expect(try await home.service.noticeable(next, at: .delay()) == noticed)
        await home.stop()
    }

    @Test func anEndpointThatServesNothingTakesAnything() async throws {
        let home = try await Home()
        try await home.service.configure([.delay()])
        #expect(try await home.service.noticeable(Home.signature("z"), at: .delay()).isEmpty)
        try await home.release(0.2, 0.8)
        await home.stop()
    }
}
