// swift-tools-version:6.1
import PackageDescription

// Floors from the ground up; a target imports only floors below its own (docs/architecture.md, checked by Tests/ArchitectureTests).
let package = Package(
    name: "keel",
    dependencies: [
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.0"),
        .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
    ],
    targets: [
        // ground
        .target(name: "Contracts", dependencies: [.product(name: "Crypto", package: "swift-crypto")]),
        // storage
        .target(name: "Storage", dependencies: ["Contracts", .product(name: "GRDB", package: "GRDB.swift")]),
        // domain
        .target(name: "Governance", dependencies: ["Contracts", "Storage"]),
        .target(name: "Monitoring", dependencies: ["Contracts", "Storage"]),
        // tests
        .testTarget(name: "GovernanceTests", dependencies: ["Governance"]),
        .testTarget(name: "MonitoringTests", dependencies: ["Monitoring"]),
    ],
    swiftLanguageModes: [.v6]
)
