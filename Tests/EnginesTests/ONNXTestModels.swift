import Contracts
import Foundation

/// Models with the answers that ONNX Runtime's Python package gives. Written by scripts/make-onnx-models.
enum ONNXTestModels {
    private static func model(_ text: String) -> [UInt8] {
        Data(base64Encoded: text, options: .ignoreUnknownCharacters).map(Array.init) ?? []
    }

    /// A pipeline of a one-hot encoder and a scaler before a logistic regression, which ends in ZipMap.
    static let textClasses = model(
        """
        CAoSCHNrbDJvbm54GgYxLjIwLjAiB2FpLm9ubngoADIAOsAJCjwKA2FnZQoGaW5jb21lEg5tZXJnZWRfY29sdW1ucxoGQ29uY2F0IgZDb25jYXQqCwoEYXhpcxgBoAECOgAKNAoEY2l0
        eQoFY2l0eTASBmNpdHkwMRoGR2F0aGVyIgZHYXRoZXIqCwoEYXhpcxgBoAECOgAKcAoGY2l0eTAxEgljaXR5MDFvdXQaDU9uZUhvdEVuY29kZXIiDU9uZUhvdEVuY29kZXIqIwoMY2F0
        c19zdHJpbmdzSgRCb25uSgVLw7ZsbkoDVWxtoAEIKgwKBXplcm9zGACgAQI6CmFpLm9ubngubWwKZAoObWVyZ2VkX2NvbHVtbnMSCXZhcmlhYmxlMRoGU2NhbGVyIgZTY2FsZXIqFQoG
        b2Zmc2V0PfJgLUI9fXSLQKABBioUCgVzY2FsZT3vL1g9PTBIvj6gAQY6CmFpLm9ubngubWwKNwoJY2l0eTAxb3V0CgxzaGFwZV90ZW5zb3ISCHZhcmlhYmxlGgdSZXNoYXBlIgdSZXNo
        YXBlOgAKSQoIdmFyaWFibGUKCXZhcmlhYmxlMRISdHJhbnNmb3JtZWRfY29sdW1uGgdDb25jYXQxIgZDb25jYXQqCwoEYXhpcxgBoAECOgAKuQIKEnRyYW5zZm9ybWVkX2NvbHVtbhIF
        bGFiZWwSEnByb2JhYmlsaXR5X3RlbnNvchoQTGluZWFyQ2xhc3NpZmllciIQTGluZWFyQ2xhc3NpZmllciooChNjbGFzc2xhYmVsc19zdHJpbmdzSgVtYXliZUoCbm9KA3llc6ABCCpc
        Cgxjb2VmZmljaWVudHM9otTxPj2SiYS+PSMBXL49pWTZPT12564+PR9e4D49akV/Pz2y7Le/PSN16b892doRvz1gGWm/PaEAPb8912zTPz3Y3ts/PXqcaT6gAQYqHgoKaW50ZXJjZXB0
        cz0jPWs/PR1AW789ZtB/vaABBioSCgttdWx0aV9jbGFzcxgBoAECKhwKDnBvc3RfdHJhbnNmb3JtIgdTT0ZUTUFYoAEDOgphaS5vbm54Lm1sCisKBWxhYmVsEgxvdXRwdXRfbGFiZWwa
        CElkZW50aXR5IghJZGVudGl0eToAClYKEnByb2JhYmlsaXR5X3RlbnNvchINcHJvYmFiaWxpdGllcxoKTm9ybWFsaXplciIKTm9ybWFsaXplcioNCgRub3JtIgJMMaABAzoKYWkub25u
        eC5tbAppCg1wcm9iYWJpbGl0aWVzEhJvdXRwdXRfcHJvYmFiaWxpdHkaBlppcE1hcCIGWmlwTWFwKigKE2NsYXNzbGFiZWxzX3N0cmluZ3NKBW1heWJlSgJub0oDeWVzoAEIOgphaS5v
        bm54Lm1sEg5PTk5YKFBpcGVsaW5lKSoOCAEQBzoBAEIFY2l0eTAqHwgCEAc6C////////////wEDQgxzaGFwZV90ZW5zb3JaFAoEY2l0eRIMCgoICBIGCgAKAggBWhMKA2FnZRIMCgoI
        ARIGCgAKAggBWhYKBmluY29tZRIMCgoIARIGCgAKAggBYhgKDG91dHB1dF9sYWJlbBIICgYICBICCgBiJAoSb3V0cHV0X3Byb2JhYmlsaXR5Eg4iDAoKKggICBIECgIIAUIOCgphaS5v
        bm54Lm1sEAFCBAoAEBU=
        """)
    static let cities: [Value] = ["Bonn", "Bonn", "Ulm", "Köln", "Köln"]
    static let ages: [Float] = [46.95853805541992, 35.1829833984375, 23.15325355529785, 73.54854583740234, 44.65681838989258]
    static let incomes: [Float] = [2.2058465480804443, 7.607024669647217, 6.676263809204102, 4.912145614624023, 5.953279495239258]
    static let textLabels: [Value] = ["maybe", "maybe", "maybe", "yes", "maybe"]
    static let textProbabilities: [Float] = [
        0.7273314595222473, 0.17083795368671417, 0.1018306314945221, 0.8575853109359741,
        0.1072990670800209, 0.03511558473110199, 0.6358928680419922, 0.11321189999580383, 0.25089529156684875, 0.25112268328666687,
        0.005709412042051554, 0.7431678771972656, 0.6469212770462036, 0.19615288078784943, 0.15692584216594696,
    ]

    /// The same without ZipMap.
    static let textClassesAsTensor = model(
        """
        CAoSCHNrbDJvbm54GgYxLjIwLjAiB2FpLm9ubngoADIAOpoICjwKA2FnZQoGaW5jb21lEg5tZXJnZWRfY29sdW1ucxoGQ29uY2F0IgZDb25jYXQqCwoEYXhpcxgBoAECOgAKNAoEY2l0
        eQoFY2l0eTASBmNpdHkwMRoGR2F0aGVyIgZHYXRoZXIqCwoEYXhpcxgBoAECOgAKcAoGY2l0eTAxEgljaXR5MDFvdXQaDU9uZUhvdEVuY29kZXIiDU9uZUhvdEVuY29kZXIqIwoMY2F0
        c19zdHJpbmdzSgRCb25uSgVLw7ZsbkoDVWxtoAEIKgwKBXplcm9zGACgAQI6CmFpLm9ubngubWwKZAoObWVyZ2VkX2NvbHVtbnMSCXZhcmlhYmxlMRoGU2NhbGVyIgZTY2FsZXIqFQoG
        b2Zmc2V0PfJgLUI9fXSLQKABBioUCgVzY2FsZT3vL1g9PTBIvj6gAQY6CmFpLm9ubngubWwKNwoJY2l0eTAxb3V0CgxzaGFwZV90ZW5zb3ISCHZhcmlhYmxlGgdSZXNoYXBlIgdSZXNo
        YXBlOgAKSQoIdmFyaWFibGUKCXZhcmlhYmxlMRISdHJhbnNmb3JtZWRfY29sdW1uGgdDb25jYXQxIgZDb25jYXQqCwoEYXhpcxgBoAECOgAKuQIKEnRyYW5zZm9ybWVkX2NvbHVtbhIF
        bGFiZWwSEnByb2JhYmlsaXR5X3RlbnNvchoQTGluZWFyQ2xhc3NpZmllciIQTGluZWFyQ2xhc3NpZmllciooChNjbGFzc2xhYmVsc19zdHJpbmdzSgVtYXliZUoCbm9KA3llc6ABCCpc
        Cgxjb2VmZmljaWVudHM9otTxPj2SiYS+PSMBXL49pWTZPT12564+PR9e4D49akV/Pz2y7Le/PSN16b892doRvz1gGWm/PaEAPb8912zTPz3Y3ts/PXqcaT6gAQYqHgoKaW50ZXJjZXB0
        cz0jPWs/PR1AW789ZtB/vaABBioSCgttdWx0aV9jbGFzcxgBoAECKhwKDnBvc3RfdHJhbnNmb3JtIgdTT0ZUTUFYoAEDOgphaS5vbm54Lm1sClYKEnByb2JhYmlsaXR5X3RlbnNvchIN
        cHJvYmFiaWxpdGllcxoKTm9ybWFsaXplciIKTm9ybWFsaXplcioNCgRub3JtIgJMMaABAzoKYWkub25ueC5tbBIOT05OWChQaXBlbGluZSkqDggBEAc6AQBCBWNpdHkwKh8IAhAHOgv/
        //////////8BA0IMc2hhcGVfdGVuc29yWhQKBGNpdHkSDAoKCAgSBgoACgIIAVoTCgNhZ2USDAoKCAESBgoACgIIAVoWCgZpbmNvbWUSDAoKCAESBgoACgIIAWIRCgVsYWJlbBIICgYI
        CBICCgBiHQoNcHJvYmFiaWxpdGllcxIMCgoIARIGCgAKAggDQgQKABAVQg4KCmFpLm9ubngubWwQAQ==
        """)

    /// The same for classes that are integers.
    static let integerClasses = model(
        """
        CAoSCHNrbDJvbm54GgYxLjIwLjAiB2FpLm9ubngoADIAOr0JCjwKA2FnZQoGaW5jb21lEg5tZXJnZWRfY29sdW1ucxoGQ29uY2F0IgZDb25jYXQqCwoEYXhpcxgBoAECOgAKNAoEY2l0
        eQoFY2l0eTASBmNpdHkwMRoGR2F0aGVyIgZHYXRoZXIqCwoEYXhpcxgBoAECOgAKcAoGY2l0eTAxEgljaXR5MDFvdXQaDU9uZUhvdEVuY29kZXIiDU9uZUhvdEVuY29kZXIqIwoMY2F0
        c19zdHJpbmdzSgRCb25uSgVLw7ZsbkoDVWxtoAEIKgwKBXplcm9zGACgAQI6CmFpLm9ubngubWwKZAoObWVyZ2VkX2NvbHVtbnMSCXZhcmlhYmxlMRoGU2NhbGVyIgZTY2FsZXIqFQoG
        b2Zmc2V0PfJgLUI9fXSLQKABBioUCgVzY2FsZT3vL1g9PTBIvj6gAQY6CmFpLm9ubngubWwKNwoJY2l0eTAxb3V0CgxzaGFwZV90ZW5zb3ISCHZhcmlhYmxlGgdSZXNoYXBlIgdSZXNo
        YXBlOgAKSQoIdmFyaWFibGUKCXZhcmlhYmxlMRISdHJhbnNmb3JtZWRfY29sdW1uGgdDb25jYXQxIgZDb25jYXQqCwoEYXhpcxgBoAECOgAKtQIKEnRyYW5zZm9ybWVkX2NvbHVtbhIF
        bGFiZWwSEnByb2JhYmlsaXR5X3RlbnNvchoQTGluZWFyQ2xhc3NpZmllciIQTGluZWFyQ2xhc3NpZmllciokChBjbGFzc2xhYmVsc19pbnRzQP7//////////wFAB0BkoAEHKlwKDGNv
        ZWZmaWNpZW50cz2i1PE+PZKJhL49IwFcvj2lZNk9PXbnrj49YBlpvz2hAD2/Pdds0z892N7bPz16nGk+PR9e4D49akV/Pz2y7Le/PSN16b892doRv6ABBioeCgppbnRlcmNlcHRzPSM9
        az89ZtB/vT0dQFu/oAEGKhIKC211bHRpX2NsYXNzGAGgAQIqHAoOcG9zdF90cmFuc2Zvcm0iB1NPRlRNQVigAQM6CmFpLm9ubngubWwKLgoFbGFiZWwSDG91dHB1dF9sYWJlbBoEQ2Fz
        dCIEQ2FzdCoJCgJ0bxgHoAECOgAKVgoScHJvYmFiaWxpdHlfdGVuc29yEg1wcm9iYWJpbGl0aWVzGgpOb3JtYWxpemVyIgpOb3JtYWxpemVyKg0KBG5vcm0iAkwxoAEDOgphaS5vbm54
        Lm1sCmcKDXByb2JhYmlsaXRpZXMSEm91dHB1dF9wcm9iYWJpbGl0eRoGWmlwTWFwIgZaaXBNYXAqJgoSY2xhc3NsYWJlbHNfaW50NjRzQP7//////////wFAB0BkoAEHOgphaS5vbm54
        Lm1sEg5PTk5YKFBpcGVsaW5lKSoOCAEQBzoBAEIFY2l0eTAqHwgCEAc6C////////////wEDQgxzaGFwZV90ZW5zb3JaFAoEY2l0eRIMCgoICBIGCgAKAggBWhMKA2FnZRIMCgoIARIG
        CgAKAggBWhYKBmluY29tZRIMCgoIARIGCgAKAggBYhgKDG91dHB1dF9sYWJlbBIICgYIBxICCgBiJAoSb3V0cHV0X3Byb2JhYmlsaXR5Eg4iDAoKKggIBxIECgIIAUIOCgphaS5vbm54
        Lm1sEAFCBAoAEBU=
        """)
    static let integerLabels: [Int64] = [-2, -2, -2, 7, -2]
    static let integerProbabilities: [Float] = [
        0.7273313999176025, 0.1018306165933609, 0.17083793878555298, 0.8575853109359741,
        0.03511558473110199, 0.1072990670800209, 0.6358928680419922, 0.25089529156684875, 0.11321189999580383, 0.25112268328666687,
        0.7431678771972656, 0.005709412042051554, 0.6469212770462036, 0.15692584216594696, 0.19615288078784943,
    ]

    /// ZipMap over the classes b, a, c, in this order.
    static let unsortedClasses = model(
        """
        CAo6bQo9CgF4EgF6IgZaaXBNYXAqIQoTY2xhc3NsYWJlbHNfc3RyaW5nc0oBYkoBYUoBY6ABCDoKYWkub25ueC5tbBIEdGVzdFoRCgF4EgwKCggBEgYKAAoCCANiEwoBehIOIgwKCioI
        CAgSBAoCCAFCBAoAEBVCDgoKYWkub25ueC5tbBAD
        """)

    /// Two outputs for each type: `s_TYPE` of [N] and `t_TYPE` of [N, any, 2], as they were given.
    static let identities = model(
        """
        CAo68hQKHwoKc19mbG9hdF9pbhIHc19mbG9hdCIISWRlbnRpdHkKHwoKdF9mbG9hdF9pbhIHdF9mbG9hdCIISWRlbnRpdHkKIQoLc19kb3VibGVfaW4SCHNfZG91YmxlIghJZGVudGl0
        eQohCgt0X2RvdWJsZV9pbhIIdF9kb3VibGUiCElkZW50aXR5CiMKDHNfZmxvYXQxNl9pbhIJc19mbG9hdDE2IghJZGVudGl0eQojCgx0X2Zsb2F0MTZfaW4SCXRfZmxvYXQxNiIISWRl
        bnRpdHkKJQoNc19iZmxvYXQxNl9pbhIKc19iZmxvYXQxNiIISWRlbnRpdHkKJQoNdF9iZmxvYXQxNl9pbhIKdF9iZmxvYXQxNiIISWRlbnRpdHkKHQoJc19pbnQ4X2luEgZzX2ludDgi
        CElkZW50aXR5Ch0KCXRfaW50OF9pbhIGdF9pbnQ4IghJZGVudGl0eQofCgpzX2ludDE2X2luEgdzX2ludDE2IghJZGVudGl0eQofCgp0X2ludDE2X2luEgd0X2ludDE2IghJZGVudGl0
        eQofCgpzX2ludDMyX2luEgdzX2ludDMyIghJZGVudGl0eQofCgp0X2ludDMyX2luEgd0X2ludDMyIghJZGVudGl0eQofCgpzX2ludDY0X2luEgdzX2ludDY0IghJZGVudGl0eQofCgp0
        X2ludDY0X2luEgd0X2ludDY0IghJZGVudGl0eQofCgpzX3VpbnQ4X2luEgdzX3VpbnQ4IghJZGVudGl0eQofCgp0X3VpbnQ4X2luEgd0X3VpbnQ4IghJZGVudGl0eQohCgtzX3VpbnQx
        Nl9pbhIIc191aW50MTYiCElkZW50aXR5CiEKC3RfdWludDE2X2luEgh0X3VpbnQxNiIISWRlbnRpdHkKIQoLc191aW50MzJfaW4SCHNfdWludDMyIghJZGVudGl0eQohCgt0X3VpbnQz
        Ml9pbhIIdF91aW50MzIiCElkZW50aXR5CiEKC3NfdWludDY0X2luEghzX3VpbnQ2NCIISWRlbnRpdHkKIQoLdF91aW50NjRfaW4SCHRfdWludDY0IghJZGVudGl0eQodCglzX2Jvb2xf
        aW4SBnNfYm9vbCIISWRlbnRpdHkKHQoJdF9ib29sX2luEgZ0X2Jvb2wiCElkZW50aXR5CiEKC3Nfc3RyaW5nX2luEghzX3N0cmluZyIISWRlbnRpdHkKIQoLdF9zdHJpbmdfaW4SCHRf
        c3RyaW5nIghJZGVudGl0eRIEdGVzdFoZCgpzX2Zsb2F0X2luEgsKCQgBEgUKAxIBTloiCgp0X2Zsb2F0X2luEhQKEggBEg4KAxIBTgoDEgFtCgIIAloaCgtzX2RvdWJsZV9pbhILCgkI
        CxIFCgMSAU5aIwoLdF9kb3VibGVfaW4SFAoSCAsSDgoDEgFOCgMSAW0KAggCWhsKDHNfZmxvYXQxNl9pbhILCgkIChIFCgMSAU5aJAoMdF9mbG9hdDE2X2luEhQKEggKEg4KAxIBTgoD
        EgFtCgIIAlocCg1zX2JmbG9hdDE2X2luEgsKCQgQEgUKAxIBTlolCg10X2JmbG9hdDE2X2luEhQKEggQEg4KAxIBTgoDEgFtCgIIAloYCglzX2ludDhfaW4SCwoJCAMSBQoDEgFOWiEK
        CXRfaW50OF9pbhIUChIIAxIOCgMSAU4KAxIBbQoCCAJaGQoKc19pbnQxNl9pbhILCgkIBRIFCgMSAU5aIgoKdF9pbnQxNl9pbhIUChIIBRIOCgMSAU4KAxIBbQoCCAJaGQoKc19pbnQz
        Ml9pbhILCgkIBhIFCgMSAU5aIgoKdF9pbnQzMl9pbhIUChIIBhIOCgMSAU4KAxIBbQoCCAJaGQoKc19pbnQ2NF9pbhILCgkIBxIFCgMSAU5aIgoKdF9pbnQ2NF9pbhIUChIIBxIOCgMS
        AU4KAxIBbQoCCAJaGQoKc191aW50OF9pbhILCgkIAhIFCgMSAU5aIgoKdF91aW50OF9pbhIUChIIAhIOCgMSAU4KAxIBbQoCCAJaGgoLc191aW50MTZfaW4SCwoJCAQSBQoDEgFOWiMK
        C3RfdWludDE2X2luEhQKEggEEg4KAxIBTgoDEgFtCgIIAloaCgtzX3VpbnQzMl9pbhILCgkIDBIFCgMSAU5aIwoLdF91aW50MzJfaW4SFAoSCAwSDgoDEgFOCgMSAW0KAggCWhoKC3Nf
        dWludDY0X2luEgsKCQgNEgUKAxIBTlojCgt0X3VpbnQ2NF9pbhIUChIIDRIOCgMSAU4KAxIBbQoCCAJaGAoJc19ib29sX2luEgsKCQgJEgUKAxIBTlohCgl0X2Jvb2xfaW4SFAoSCAkS
        DgoDEgFOCgMSAW0KAggCWhoKC3Nfc3RyaW5nX2luEgsKCQgIEgUKAxIBTlojCgt0X3N0cmluZ19pbhIUChIICBIOCgMSAU4KAxIBbQoCCAJiFgoHc19mbG9hdBILCgkIARIFCgMSAU5i
        HwoHdF9mbG9hdBIUChIIARIOCgMSAU4KAxIBbQoCCAJiFwoIc19kb3VibGUSCwoJCAsSBQoDEgFOYiAKCHRfZG91YmxlEhQKEggLEg4KAxIBTgoDEgFtCgIIAmIYCglzX2Zsb2F0MTYS
        CwoJCAoSBQoDEgFOYiEKCXRfZmxvYXQxNhIUChIIChIOCgMSAU4KAxIBbQoCCAJiGQoKc19iZmxvYXQxNhILCgkIEBIFCgMSAU5iIgoKdF9iZmxvYXQxNhIUChIIEBIOCgMSAU4KAxIB
        bQoCCAJiFQoGc19pbnQ4EgsKCQgDEgUKAxIBTmIeCgZ0X2ludDgSFAoSCAMSDgoDEgFOCgMSAW0KAggCYhYKB3NfaW50MTYSCwoJCAUSBQoDEgFOYh8KB3RfaW50MTYSFAoSCAUSDgoD
        EgFOCgMSAW0KAggCYhYKB3NfaW50MzISCwoJCAYSBQoDEgFOYh8KB3RfaW50MzISFAoSCAYSDgoDEgFOCgMSAW0KAggCYhYKB3NfaW50NjQSCwoJCAcSBQoDEgFOYh8KB3RfaW50NjQS
        FAoSCAcSDgoDEgFOCgMSAW0KAggCYhYKB3NfdWludDgSCwoJCAISBQoDEgFOYh8KB3RfdWludDgSFAoSCAISDgoDEgFOCgMSAW0KAggCYhcKCHNfdWludDE2EgsKCQgEEgUKAxIBTmIg
        Cgh0X3VpbnQxNhIUChIIBBIOCgMSAU4KAxIBbQoCCAJiFwoIc191aW50MzISCwoJCAwSBQoDEgFOYiAKCHRfdWludDMyEhQKEggMEg4KAxIBTgoDEgFtCgIIAmIXCghzX3VpbnQ2NBIL
        CgkIDRIFCgMSAU5iIAoIdF91aW50NjQSFAoSCA0SDgoDEgFOCgMSAW0KAggCYhUKBnNfYm9vbBILCgkICRIFCgMSAU5iHgoGdF9ib29sEhQKEggJEg4KAxIBTgoDEgFtCgIIAmIXCghz
        X3N0cmluZxILCgkICBIFCgMSAU5iIAoIdF9zdHJpbmcSFAoSCAgSDgoDEgFOCgMSAW0KAggCQgQKABAVQg4KCmFpLm9ubngubWwQAw==
        """)

    /// Outputs that Keel's types do not hold as they are: x as uint64 through its bits, and as bfloat16 and float16.
    static let wideNumbers = model(
        """
        CAo6xAEKFwoBeBIBdSIEQ2FzdCoJCgJ0bxgNoAECChcKAXgSAWIiBENhc3QqCQoCdG8YEKABAgoXCgF4EgFoIgRDYXN0KgkKAnRvGAqgAQIKFwoBeBIBYyIEQ2FzdCoJCgJ0bxgCoAEC
        EgR0ZXN0WhAKAXgSCwoJCAsSBQoDEgFOYhAKAXUSCwoJCA0SBQoDEgFOYhAKAWISCwoJCBASBQoDEgFOYhAKAWgSCwoJCAoSBQoDEgFOYhAKAWMSCwoJCAISBQoDEgFOQgQKABAVQg4K
        CmFpLm9ubngubWwQAw==
        """)

    /// Six inputs and seven outputs of several types; `shape` and `most` do not belong to rows.
    static let several = model(
        """
        CAo60gQKEQoBYQoBdxIBcCIGTWF0TXVsChAKAXAKAWISA3N1bSIDQWRkChgKAW4SAm5mIgRDYXN0KgkKAnRvGAGgAQIKFgoDc3VtCgJuZhIGc2NhbGVkIgNNdWwKLgoDc2VxCgRheGVz
        EgRtZWFuIgpSZWR1Y2VNZWFuKg8KCGtlZXBkaW1zGACgAQIKEQoBYRIFc2hhcGUiBVNoYXBlChMKBGZsYWcSBnVuZmxhZyIDTm90CiMKBHdvcmQKBHdvcmQSB2RvdWJsZWQiDFN0cmlu
        Z0NvbmNhdAolCgFhEgRtb3N0IglSZWR1Y2VNYXgqDwoIa2VlcGRpbXMYAKABAhIEdGVzdCoXCAMIARABIgwAAIA/AAAAwAAAAD9CAXcqDQgBEAc6AQFCBGF4ZXNaFAoBYRIPCg0IARIJ
        CgMSAU4KAggDWhQKAWISDwoNCAESCQoDEgFOCgIIAVoUCgFuEg8KDQgHEgkKAxIBTgoCCAFaHQoDc2VxEhYKFAgLEhAKAxIBTgoFEgNsZW4KAggCWhMKBGZsYWcSCwoJCAkSBQoDEgFO
        WhMKBHdvcmQSCwoJCAgSBQoDEgFOYhkKBnNjYWxlZBIPCg0IARIJCgMSAU4KAggBYhcKBG1lYW4SDwoNCAsSCQoDEgFOCgIIAmIVCgZ1bmZsYWcSCwoJCAkSBQoDEgFOYhYKB2RvdWJs
        ZWQSCwoJCAgSBQoDEgFOYhMKBXNoYXBlEgoKCAgHEgQKAggCYg4KBG1vc3QSBgoECAESAGIUCgFwEg8KDQgBEgkKAxIBTgoCCAFCBAoAEBVCDgoKYWkub25ueC5tbBAD
        """)
    static let severalScaled: [Float] = [25.5, -16.0]
    static let severalMeans: [Double] = [0.2857142857142857, 0.42857142857142855, 1.142857142857143, 1.2857142857142856]

    /// y = 2x and s = the sum of each run, of 1 rows at a time.
    static let fixed1 = model(
        """
        CAo6cQoOCgF4CgF4EgF5IgNBZGQKIgoBeBIBcyIJUmVkdWNlU3VtKg8KCGtlZXBkaW1zGACgAQISBHRlc3RaEwoBeBIOCgwIARIICgIIAQoCCAJiEwoBeRIOCgwIARIICgIIAQoCCAJi
        CwoBcxIGCgQIARIAQgQKABAVQg4KCmFpLm9ubngubWwQAw==
        """)

    /// y = 2x and s = the sum of each run, of 4 rows at a time.
    static let fixed4 = model(
        """
        CAo6cQoOCgF4CgF4EgF5IgNBZGQKIgoBeBIBcyIJUmVkdWNlU3VtKg8KCGtlZXBkaW1zGACgAQISBHRlc3RaEwoBeBIOCgwIARIICgIIBAoCCAJiEwoBeRIOCgwIARIICgIIBAoCCAJi
        CwoBcxIGCgQIARIAQgQKABAVQg4KCmFpLm9ubngubWwQAw==
        """)

    /// One row at a time; r = 0, 1 … n − 1, of another length for another n.
    static let ranges = model(
        """
        CAo6WgoYCgR6ZXJvCgFuCgNvbmUSAXIiBVJhbmdlEgR0ZXN0KgsQBzoBAEIEemVybyoKEAc6AQFCA29uZVoLCgFuEgYKBAgHEgBiEgoBchINCgsIBxIHCgUSA2xlbkIECgAQFUIOCgph
        aS5vbm54Lm1sEAM=
        """)

    /// Two inputs with first dimensions 2 and 3.
    static let disagreeing = model(
        """
        CAo6bgoQCgF4EgF5IghJZGVudGl0eQoQCgF1EgF2IghJZGVudGl0eRIEdGVzdFoPCgF4EgoKCAgBEgQKAggCWg8KAXUSCgoICAESBAoCCANiDwoBeRIKCggIARIECgIIAmIPCgF2EgoK
        CAgBEgQKAggDQgQKABAVQg4KCmFpLm9ubngubWwQAw==
        """)

    /// The mean over each channel of images [N, 3, any, any].
    static let images = model(
        """
        CAo6hQEKMAoFaW1hZ2UKBGF4ZXMSBG1lYW4iClJlZHVjZU1lYW4qDwoIa2VlcGRpbXMYAKABAhIEdGVzdCoOCAIQBzoCAgNCBGF4ZXNaIgoFaW1hZ2USGQoXCAESEwoDEgFOCgIIAwoD
        EgFoCgMSAXdiFwoEbWVhbhIPCg0IARIJCgMSAU4KAggDQgQKABAVQg4KCmFpLm9ubngubWwQAw==
        """)

    /// y = x of [any, any], and its rows' sums.
    static let open = model(
        """
        CAo6iAEKEAoBeBIBeSIISWRlbnRpdHkKGQoBeAoEYXhlcxIDc3VtIglSZWR1Y2VTdW0SBHRlc3QqDQgBEAc6AQFCBGF4ZXNaFQoBeBIQCg4IARIKCgMSAU4KAxIBa2IVCgF5EhAKDggB
        EgoKAxIBTgoDEgFrYhYKA3N1bRIPCg0IARIJCgMSAU4KAggBQgQKABAVQg4KCmFpLm9ubngubWwQAw==
        """)

    /// y = x, and two outputs that no column holds: a sequence and an optional value.
    static let sequences = model(
        """
        CAo6nwEKEAoBeBIBeSIISWRlbnRpdHkKHwoBeAoBeBIEYm90aCIRU2VxdWVuY2VDb25zdHJ1Y3QKFAoBeBIFbWF5YmUiCE9wdGlvbmFsEgR0ZXN0WhAKAXgSCwoJCAESBQoDEgFOYhAK
        BGJvdGgSCCIGCgQKAggBYhAKAXkSCwoJCAESBQoDEgFOYhgKBW1heWJlEg9KDQoLCgkIARIFCgMSAU5CBAoAEBVCDgoKYWkub25ueC5tbBAD
        """)

    /// An input that no column holds.
    static let takesSequence = model(
        """
        CAo6UgooCgJ4cxIBeSISQ29uY2F0RnJvbVNlcXVlbmNlKgsKBGF4aXMYAKABAhIEdGVzdFoOCgJ4cxIIIgYKBAoCCAFiEAoBeRILCgkIARIFCgMSAU5CBAoAEBVCDgoKYWkub25ueC5t
        bBAD
        """)

    /// y = x, and an output of nine dimensions.
    static let deep = model(
        """
        CAo6owEKEAoBeBIBeSIISWRlbnRpdHkKGgoBeAoEYXhlcxIEbmluZSIJVW5zcXVlZXplEgR0ZXN0KhQICBAHOggBAgMEBQYHCEIEYXhlc1oQCgF4EgsKCQgBEgUKAxIBTmIQCgF5EgsK
        CQgBEgUKAxIBTmIzCgRuaW5lEisKKQgBEiUKAxIBTgoCCAEKAggBCgIIAQoCCAEKAggBCgIIAQoCCAEKAggBQgQKABAVQg4KCmFpLm9ubngubWwQAw==
        """)

    /// Outputs whose shapes the graph does not declare: the sums of rows, [N, 1], and the rows, [N, 2].
    static let undeclared = model(
        """
        CAo63wIKGQoBeAoEYXhlcxIDc3VtIglSZWR1Y2VTdW0KFwoDc3VtEglzdW1fc2hhcGUiBVNoYXBlCiMKCXN1bV9zaGFwZQoEemVybxIHc3VtX2FsbCIHR3JlYXRlcgonCglzdW1fc2hh
        cGUKB3N1bV9hbGwSB3N1bV9uZXciCENvbXByZXNzChoKA3N1bQoHc3VtX25ldxIBeSIHUmVzaGFwZQoTCgF4Egd4X3NoYXBlIgVTaGFwZQofCgd4X3NoYXBlCgR6ZXJvEgV4X2FsbCIH
        R3JlYXRlcgohCgd4X3NoYXBlCgV4X2FsbBIFeF9uZXciCENvbXByZXNzChYKAXgKBXhfbmV3EgF6IgdSZXNoYXBlEgR0ZXN0Kg0IARAHOgEBQgRheGVzKg0IARAHOgEAQgR6ZXJvWhQK
        AXgSDwoNCAESCQoDEgFOCgIIAmIJCgF5EgQKAggBYgkKAXoSBAoCCAFCBAoAEBVCDgoKYWkub25ueC5tbBAD
        """)

    /// y = 2x, and the inputs as outputs.
    static let passedThrough = model(
        """
        CAo6cAoOCgF4CgF4EgF5IgNBZGQSBHRlc3RaEAoBeBILCgkIARIFCgMSAU5aEAoBdBILCgkICBIFCgMSAU5iEAoBeBILCgkIARIFCgMSAU5iEAoBeRILCgkIARIFCgMSAU5iEAoBdBIL
        CgkICBIFCgMSAU5CBAoAEBVCDgoKYWkub25ueC5tbBAD
        """)

    /// n zeros, for one row at a time.
    static let zeros = model(
        """
        CAo6QgoXCgFuEgF5Ig9Db25zdGFudE9mU2hhcGUSBHRlc3RaDwoBbhIKCggIBxIECgIIAWIQCgF5EgsKCQgBEgUKAxIBbkIECgAQFUIOCgphaS5vbm54Lm1sEAM=
        """)

    /// y = log(x): NaN and infinities.
    static let notNumbers = model(
        """
        CAo6NwoLCgF4EgF5IgNMb2cSBHRlc3RaEAoBeBILCgkIARIFCgMSAU5iEAoBeRILCgkIARIFCgMSAU5CBAoAEBVCDgoKYWkub25ueC5tbBAD
        """)

    /// y = x · w + b, with w in bytes 8 to 24 of `weights/w.bin` and b, of a branch, in `inner.bin`.
    static let external = model(
        """
        CAo6hgMKEQoBeAoBdxIBcCIGTWF0TXVsCt8BCgN5ZXMSAWIiAklmKmAKC2Vsc2VfYnJhbmNoMk4KGQoEemVybxIHbm90aGluZyIISWRlbnRpdHkSBGVsc2UqFAgCEAEiCAAAAAAAAAAA
        QgR6ZXJvYhUKB25vdGhpbmcSCgoICAESBAoCCAKgAQUqbwoLdGhlbl9icmFuY2gyXQoZCgVpbm5lchIGY2hvc2VuIghJZGVudGl0eRIEdGhlbiokCAIQAUIFaW5uZXJqFQoIbG9jYXRp
        b24SCWlubmVyLmJpbnABYhQKBmNob3NlbhIKCggIARIECgIIAqABBQoOCgFwCgFiEgF5IgNBZGQSBHRlc3QqQQgCCAIQAUIBd2oZCghsb2NhdGlvbhINd2VpZ2h0cy93LmJpbmoLCgZv
        ZmZzZXQSAThqDAoGbGVuZ3RoEgIxNnABKgoQCSoBAUIDeWVzWhQKAXgSDwoNCAESCQoDEgFOCgIIAmIUCgF5Eg8KDQgBEgkKAxIBTgoCCAJCBAoAEBVCDgoKYWkub25ueC5tbBAD
        """)

    /// y = sigmoid(x · w), x of [N, 30].
    static let thirty = model(
        """
        CAo63AEKEQoBeAoBdxIBcCIGTWF0TXVsCg8KAXASAXkiB1NpZ21vaWQSBHRlc3QqgwEIHggBEAEieKzAAb4FviE/jf5wv/+wSj9xWwG/iJqLv+kBuz7Estg/izB2P6EBBL8KtDI/GY7o
        vur9/b23Wrc9Tk0UwKk2RD48yoO/t4gyv9O4vL+UHsK/x3lxv1haUz/YQNU/73rOvM6/iz95KIe+h7v0v76DGT4CLOQ+oXPbvkIBd1oUCgF4Eg8KDQgBEgkKAxIBTgoCCB5iFAoBeRIP
        Cg0IARIJCgMSAU4KAggBQgQKABAVQg4KCmFpLm9ubngubWwQAw==
        """)
}
