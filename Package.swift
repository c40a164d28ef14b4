// swift-tools-version:6.1
import PackageDescription

let package = Package(
    name: "keel",
    dependencies: [
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.0"),
        .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
    ],
    targets: [
        // ground
        .target(name: "Contracts", dependencies: [.product(name: "Crypto", package: "swift-crypto")]),
        .testTarget(name: "ContractsTests", dependencies: ["Contracts"]),
        // storage
        .target(name: "Storage", dependencies: ["Contracts", .product(name: "GRDB", package: "GRDB.swift")]),
        .testTarget(name: "StorageTests", dependencies: ["Storage"]),
        // domain
        .target(name: "Pipelines", dependencies: ["Contracts", "Storage"]),
        .testTarget(name: "PipelinesTests", dependencies: ["Pipelines"]),
    ],
    swiftLanguageModes: [.v6]
)
