// swift-tools-version:6.1
import PackageDescription

// Floors from the ground up; a target imports only floors below its own (docs/architecture.md, checked by Tests/ArchitectureTests).
let package = Package(
    name: "keel",
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-atomics", from: "1.3.0"),
        .package(url: "https://github.com/apple/swift-configuration", from: "1.4.0"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.0"),
        .package(url: "https://github.com/apple/swift-http-types", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.0"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.0"),
        .package(url: "https://github.com/apple/swift-nio-extras", from: "1.35.0"),
        .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.0"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
    ],
    targets: [
        // ground
        .target(name: "Contracts", dependencies: [.product(name: "Crypto", package: "swift-crypto")]),
        // storage
        .target(name: "Storage", dependencies: ["Contracts", .product(name: "GRDB", package: "GRDB.swift")]),
        // domain
        .target(name: "Tracking", dependencies: ["Contracts", "Storage"]),
        .target(name: "Registry", dependencies: ["Contracts", "Storage"]),
        // composition
        .target(name: "Platform", dependencies: ["Contracts", "Storage", .product(name: "Hummingbird", package: "hummingbird")]),
        // doors
        .target(name: "MLflowAPI", dependencies: ["Contracts", "Storage", "Tracking", "Registry", "Platform", .product(name: "Hummingbird", package: "hummingbird")]),
        // tests
        .testTarget(name: "TrackingTests", dependencies: ["Tracking"]),
        .testTarget(name: "RegistryTests", dependencies: ["Registry"]),
        .testTarget(name: "MLflowAPITests", dependencies: ["MLflowAPI", .product(name: "HTTPTypes", package: "swift-http-types"), .product(name: "HummingbirdTesting", package: "hummingbird")]),
        .testTarget(name: "ContractsTests", dependencies: ["Contracts"]),
        .testTarget(name: "StorageTests", dependencies: ["Storage"]),
    ],
    swiftLanguageModes: [.v6]
)
